output "namespace" {
  description = "Namespace of the operator."
  value       = helm_release.operator.namespace
}

output "values" {
  description = "The values that the chart was given."
  value       = local.values
}
