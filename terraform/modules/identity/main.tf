# Accounts with only the roles they need and without keys: nodes get tokens from GKE, and CI exchanges GitHub's
# token for a short-lived one.
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

locals {
  # What a job is known by: its environment, or the event of a job without one.
  jobs = merge([
    for name, account in var.service_accounts : {
      for job in account.github : job.environment != null ? "environment:${job.environment}" : "event:${job.event}" => { name = name, ref = job.ref }
    }
  ]...)

  # The attribute `job`, in CEL. `in` is false of a claim that the token lacks.
  job = "('environment' in assertion ? 'environment:' + assertion.environment : 'event:' + assertion.event_name)"

  # Whoever may exchange a token: a CEL condition for each job.
  conditions = [
    for job, account in local.jobs :
    account.ref == null ? "${local.job} == '${job}'" : "(${local.job} == '${job}' && assertion.ref == '${account.ref}')"
  ]
}

# Tokens of the listed workflows of one GitHub repository are exchanged for Google's tokens.
resource "google_iam_workload_identity_pool" "github" {
  count = length(local.conditions) > 0 ? 1 : 0

  project                   = var.project_id
  workload_identity_pool_id = "${var.name}-github"
  display_name              = "GitHub Actions"
  description               = "Workflows of the GitHub repository ${var.github.repository_id}"
}

# GitHub's ids of a repository and its owner never change and are never used again, whereas a token's subject holds
# names, and ids or none according to the repository's age. So nothing here reads the subject.
resource "google_iam_workload_identity_pool_provider" "github" {
  #checkov:skip=CKV_GCP_125:The condition compares ids instead of the subject, whose form depends on the repository's age; the tests evaluate it against GitHub's tokens.
  count = length(local.conditions) > 0 ? 1 : 0

  project                            = var.project_id
  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition = join(" && ", [
    "assertion.repository_id == '${var.github.repository_id}'",
    "assertion.repository_owner_id == '${var.github.owner_id}'",
    "(${join(" || ", local.conditions)})",
  ])

  attribute_mapping = {
    # Google refuses a subject of more than 127 bytes, which the name of a long branch makes of GitHub's own.
    "google.subject" = "assertion.repository_id + ':' + assertion.run_id"
    "attribute.job"  = local.job
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github" {
  for_each = local.jobs

  service_account_id = google_service_account.this[each.value.name].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/attribute.job/${each.key}"
}
