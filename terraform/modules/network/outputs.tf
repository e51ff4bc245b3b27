output "network" {
  description = "Id of the network."
  value       = google_compute_network.this.id
}

output "subnetwork" {
  description = "Id of the nodes' subnetwork."
  value       = google_compute_subnetwork.nodes.id
}

output "pods_range" {
  description = "Name of the secondary range of the pods' addresses."
  value       = google_compute_subnetwork.nodes.secondary_ip_range[0].range_name
}

output "services_range" {
  description = "Name of the secondary range of the addresses of Kubernetes Services."
  value       = google_compute_subnetwork.nodes.secondary_ip_range[1].range_name
}
