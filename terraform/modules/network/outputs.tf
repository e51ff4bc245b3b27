output "network" {
  description = "Id of the network."
  value       = google_compute_network.this.id
}

output "subnetwork" {
  description = "Id of the subnetwork that the nodes live in."
  value       = google_compute_subnetwork.nodes.id
}

output "pods_range" {
  description = "Name of the secondary range that pods get their addresses from."
  value       = google_compute_subnetwork.nodes.secondary_ip_range[0].range_name
}

output "services_range" {
  description = "Name of the secondary range that Kubernetes Services get their addresses from."
  value       = google_compute_subnetwork.nodes.secondary_ip_range[1].range_name
}
