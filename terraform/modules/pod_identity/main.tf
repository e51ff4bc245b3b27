# Pods of the listed Kubernetes service accounts act as an account (Workload Identity Federation for GKE).
resource "google_service_account_iam_member" "pods" {
  for_each = var.pods

  service_account_id = "projects/${var.project_id}/serviceAccounts/${var.service_account}"
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project_id}.svc.id.goog[${each.value}]"
}
