# Resources that CI needs before it can create the others by itself. The project's owner applies them once: from then on
# CI makes no account, grants no role on the project and can't write this directory's own state.
provider "google" {
  project = var.project_id

  # Budgets and quotas belong to no project: a person's own login needs one that the calls are counted for.
  billing_project       = var.project_id
  user_project_override = true
}

locals {
  deploy_ref = { prod = "refs/heads/main", test = null }[var.environment]

  # Names of the environment's buckets for models: prod's one, or those of the branches. Terraform's state is in none.
  model_buckets = { prod = "${var.project_id}-prod-models", test = "${var.project_id}-t-" }[var.environment]
}

module "services" {
  source = "../modules/services"

  project_id = var.project_id
}

# Accounts of the nodes and of the pods that read models.
module "accounts" {
  source = "../modules/identity"

  project_id = var.project_id
  name       = var.environment

  service_accounts = {
    nodes = {
      description = "Runs the nodes of the clusters"
      # The second role lets nodes stream images.
      roles = ["roles/container.defaultNodeServiceAccount", "roles/serviceusage.serviceUsageConsumer"]
    }
    models = {
      description = "Reads models for the pods of DiffusionServices"
    }
  }

  depends_on = [module.services]
}

module "ci" {
  source = "../modules/identity"

  project_id = var.project_id
  name       = "ci"
  github     = var.github

  service_accounts = merge(
    {
      deploy = {
        description = "Applies the ${var.environment} environment from CI"
        roles = [
          "roles/artifactregistry.admin",
          "roles/compute.networkAdmin",
          "roles/compute.securityAdmin",
          "roles/container.admin",
          "roles/gkebackup.admin",
        ]
        github = [{ environment = var.environment, ref = local.deploy_ref }]
      }
    },
    # A plan needs only the state: it does not refresh from the cloud, so that a pull request's code never holds a
    # token for the cloud.
    var.environment == "prod" ? {
      plan = {
        description = "Plans the prod environment for pull requests and for main"
        roles       = []
        github      = [{ event = "pull_request", ref = null }, { event = "push", ref = "refs/heads/main" }]
      }
    } : {},
  )

  depends_on = [module.services]
}

# The bucket of the environment's state. The bootstrap's own state is in another, which CI can neither read nor write.
resource "google_storage_bucket_iam_member" "plan_reads_state" {
  count = var.environment == "prod" ? 1 : 0

  bucket = var.state_bucket
  role   = "roles/storage.objectViewer"
  member = module.ci.members["plan"]
}

resource "google_storage_bucket_iam_member" "deploy_writes_state" {
  bucket = var.state_bucket
  role   = "roles/storage.objectUser"
  member = module.ci.members["deploy"]
}

# A condition on a bucket's name can't hold for a bucket that does not exist yet, hence the role that only creates.
resource "google_project_iam_custom_role" "bucket_creator" {
  project     = var.project_id
  role_id     = "bucketCreator"
  title       = "Creates buckets"
  description = "Creates a bucket, without any right to those of others"
  permissions = ["storage.buckets.create"]

  depends_on = [module.services]
}

resource "google_project_iam_member" "deploy_creates_buckets" {
  project = var.project_id
  role    = google_project_iam_custom_role.bucket_creator.id
  member  = module.ci.members["deploy"]
}

resource "google_project_iam_member" "deploy_administers_model_buckets" {
  project = var.project_id
  role    = "roles/storage.admin"
  member  = module.ci.members["deploy"]

  condition {
    title      = "buckets for models"
    expression = "resource.name.startsWith('projects/_/buckets/${local.model_buckets}')"
  }
}

# Clusters run their nodes as this account and as no other.
resource "google_service_account_iam_member" "deploy_starts_nodes" {
  service_account_id = module.accounts.names["nodes"]
  role               = "roles/iam.serviceAccountUser"
  member             = module.ci.members["deploy"]
}

# The pods that may act as this account are inputs of the environment.
resource "google_service_account_iam_member" "deploy_lists_model_readers" {
  service_account_id = module.accounts.names["models"]
  role               = "roles/iam.serviceAccountAdmin"
  member             = module.ci.members["deploy"]
}
