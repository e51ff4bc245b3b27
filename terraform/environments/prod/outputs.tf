output "cluster" {
  description = "Name of the cluster: gcloud container clusters get-credentials --dns-endpoint."
  value       = local.cluster.name
}

output "location" {
  description = "Region or zone of the cluster."
  value       = local.cluster.location
}

output "registry" {
  description = "Prefix of an image's name in the environment's registry."
  value       = module.registry.url
}

output "models_bucket" {
  description = "Bucket for models: gs://BUCKET/PATH is a model's source."
  value       = module.storage.bucket
}

output "models_service_account" {
  description = "Value of the annotation iam.gke.io/gcp-service-account in spec.serviceAccount.annotations of a DiffusionService that reads the bucket."
  value       = module.model_readers.email
}

output "gpu_node_labels" {
  description = "Node label that the operator's catalogue must select for the accelerator."
  value       = module.gpu_pool.node_labels
}

output "gpu_node_taints" {
  description = "Node taints that the operator's catalogue must tolerate for the accelerator."
  value       = module.gpu_pool.node_taints
}

output "operator_values" {
  description = "Values of the operator's chart; null if Terraform doesn't install the chart."
  value       = one(module.operator[*].values)
}

output "ranges" {
  description = "Private IPv4 ranges of the nodes, of their pods and of the Kubernetes Services."
  value       = var.ranges
}

output "commit" {
  description = "Commit that CI applied last; empty after an apply by hand."
  value       = var.commit
}
