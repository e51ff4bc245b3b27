output "namespace" {
  description = "Namespace of the operator."
  value       = helm_release.operator.namespace
}

output "values" {
  description = "The chart's values."
  value       = local.values
}
