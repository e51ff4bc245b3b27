output "email" {
  description = "Email of the account, once pods may act as it."
  value       = var.service_account
  depends_on  = [google_service_account_iam_member.pods]
}
