output "names" {
  description = "Full name of each account, by name: the account as a resource, on which roles are granted."
  value       = { for name, account in google_service_account.this : name => account.name }
}

output "emails" {
  description = "Email of each account, by name."
  value       = { for name, account in google_service_account.this : name => account.email }
}

output "members" {
  description = "Each account in IAM's notation, by name."
  value       = { for name, account in google_service_account.this : name => account.member }
}

output "github_provider" {
  description = "Value of workload_identity_provider for google-github-actions/auth; null without a repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}

output "roles" {
  description = "All roles on the project that an account has."
  value       = toset([for binding in google_project_iam_member.role : binding.role])
}
