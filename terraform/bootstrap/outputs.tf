output "workload_identity_provider" {
  description = "GitHub environment's variable WORKLOAD_IDENTITY_PROVIDER."
  value       = module.identity.github_provider
}

output "deploy_service_account" {
  description = "GitHub environment's variable DEPLOY_SERVICE_ACCOUNT."
  value       = module.identity.emails["deploy"]
}

output "plan_service_account" {
  description = "GitHub repository's variable PLAN_SERVICE_ACCOUNT."
  value       = module.identity.emails["plan"]
}
