# Accounts with only the roles they need and without keys: nodes get tokens from GKE, and pods and CI exchange
# their own token for a short-lived one.
resource "google_service_account" "this" {
  for_each = var.service_accounts

  project      = var.project_id
  account_id   = "${var.name}-${each.key}"
  display_name = "${var.name} ${each.key}"
  description  = each.value.description
}

resource "google_project_iam_member" "role" {
  for_each = merge([
    for name, account in var.service_accounts : { for role in account.roles : "${name} ${role}" => { name = name, role = role } }
  ]...)

  project = var.project_id
  role    = each.value.role
  member  = google_service_account.this[each.value.name].member
}

# The right to grant the listed roles to others, and no other role.
resource "google_project_iam_member" "grants" {
  for_each = { for name, account in var.service_accounts : name => account if length(account.may_grant) > 0 }

  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.this[each.key].member

  condition {
    title       = "listed roles only"
    description = "Only these roles may be given or taken: ${join(", ", sort(each.value.may_grant))}"
    expression  = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", [for role in sort(each.value.may_grant) : "'${role}'"])}])"
  }
}

# Pods of these Kubernetes service accounts act as the account (Workload Identity Federation for GKE).
resource "google_service_account_iam_member" "kubernetes" {
  for_each = merge([
    for name, account in var.service_accounts : { for subject in account.kubernetes : "${name} ${subject}" => { name = name, subject = subject } }
  ]...)

  service_account_id = google_service_account.this[each.value.name].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project_id}.svc.id.goog[${each.value.subject}]"
}

locals {
  # The subjects of the accepted tokens, in GitHub's notation.
  github_subjects = sort(distinct(flatten([
    for account in var.service_accounts : [for subject in account.github : "repo:${coalesce(var.github_repository, "-")}:${subject}"]
  ])))
}

# Tokens of the listed workflows of one GitHub repository are exchanged for Google's tokens.
resource "google_iam_workload_identity_pool" "github" {
  count = length(local.github_subjects) > 0 ? 1 : 0

  project                   = var.project_id
  workload_identity_pool_id = "${var.name}-github"
  display_name              = "GitHub Actions"
  description               = "Workflows of ${var.github_repository}"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  #checkov:skip=CKV_GCP_125:The condition is a list of whole subjects, built from the input, which checkov doesn't evaluate; tests/identity.tftest.hcl checks it.
  count = length(local.github_subjects) > 0 ? 1 : 0

  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = "assertion.sub in [${join(", ", [for subject in local.github_subjects : "'${subject}'"])}]"

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github" {
  for_each = merge([
    for name, account in var.service_accounts : { for subject in account.github : "${name} ${subject}" => { name = name, subject = subject } }
  ]...)

  service_account_id = google_service_account.this[each.value.name].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/subject/repo:${var.github_repository}:${each.value.subject}"
}
