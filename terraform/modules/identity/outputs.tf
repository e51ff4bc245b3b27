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
