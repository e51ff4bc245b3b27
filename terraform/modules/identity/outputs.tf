output "emails" {
  description = "Email of each account, by name."
  value       = { for name, account in google_service_account.this : name => account.email }
}

output "members" {
  description = "Each account as IAM writes it, by name."
  value       = { for name, account in google_service_account.this : name => account.member }
}

output "github_provider" {
  description = "What google-github-actions/auth calls workload_identity_provider; null without a repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}

output "roles" {
  description = "Every role on the project that an account has."
  value = toset(concat(
    [for binding in google_project_iam_member.role : binding.role],
    [for binding in google_project_iam_member.grants : binding.role],
  ))
}
