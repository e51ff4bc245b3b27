output "name" {
  description = "Name of the cluster."
  value       = google_container_cluster.this.name
}

output "location" {
  description = "Region or zone of the cluster."
  value       = google_container_cluster.this.location
}

output "endpoint" {
  description = "Host name of the API server, to which IAM controls the access."
  value       = google_container_cluster.this.control_plane_endpoints_config[0].dns_endpoint_config[0].endpoint
}

output "workload_pool" {
  description = "Workload identity pool by which IAM knows the cluster's Kubernetes service accounts."
  value       = google_container_cluster.this.workload_identity_config[0].workload_pool
}
