output "workload_identity_provider" {
  description = "GitHub environment's variable WORKLOAD_IDENTITY_PROVIDER."
  value       = module.ci.github_provider
}

output "deploy_service_account" {
  description = "GitHub environment's variable DEPLOY_SERVICE_ACCOUNT."
  value       = module.ci.emails["deploy"]
}

output "plan_service_account" {
  description = "GitHub repository's variable PLAN_SERVICE_ACCOUNT; null in a test project, where nothing is planned for a pull request."
  value       = lookup(module.ci.emails, "plan", null)
}
