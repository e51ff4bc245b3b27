output "name" {
  description = "Name of the pool."
  value       = google_container_node_pool.this.name
}

output "accelerator" {
  description = "Value of spec.gpu.type of a DiffusionService that gets a GPU of this pool."
  value       = var.accelerator
}

output "node_labels" {
  description = "The label that GKE gives the nodes for their GPU."
  value       = { "cloud.google.com/gke-accelerator" = google_container_node_pool.this.node_config[0].guest_accelerator[0].type }
}

output "node_taints" {
  description = "Taints of the nodes, as Kubernetes writes them."
  value = [
    for taint in google_container_node_pool.this.node_config[0].taint : {
      key    = taint.key
      value  = taint.value
      effect = { NO_SCHEDULE = "NoSchedule", PREFER_NO_SCHEDULE = "PreferNoSchedule", NO_EXECUTE = "NoExecute" }[taint.effect]
    }
  ]
}
