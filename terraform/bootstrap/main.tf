# Resources that CI needs before it can create the others by itself. The project's owner applies them once.
provider "google" {
  project = var.project_id
}

module "services" {
  source = "../modules/services"

  project_id = var.project_id
}

module "identity" {
  source = "../modules/identity"

  project_id        = var.project_id
  name              = "ci"
  github_repository = var.github_repository

  service_accounts = {
    deploy = {
      description = "Applies the ${var.environment} environment from CI"
      roles = [
        "roles/artifactregistry.admin",
        "roles/compute.networkAdmin",
        "roles/compute.securityAdmin",
        "roles/container.admin",
        "roles/iam.serviceAccountAdmin",
        "roles/iam.serviceAccountUser",
        "roles/storage.admin",
      ]
      may_grant = ["roles/container.defaultNodeServiceAccount"]
      github    = ["environment:${var.environment}"]
    }
    # A plan needs only the state: it does not refresh from the cloud, so that a pull request's code never
    # holds a token for the cloud.
    plan = {
      description = "Plans the ${var.environment} environment for pull requests"
      github      = ["pull_request"]
    }
  }

  depends_on = [module.services]
}

resource "google_storage_bucket_iam_member" "plan_reads_state" {
  bucket = var.state_bucket
  role   = "roles/storage.objectViewer"
  member = module.identity.members["plan"]
}
