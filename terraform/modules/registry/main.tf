# The registry of the environment's images; only the nodes pull, and only CI pushes.
resource "google_artifact_registry_repository" "this" {
  #checkov:skip=CKV_GCP_84:The input kms_key gives the registry a customer-managed key; without it Google's own encryption holds, and no key can be lost.
  project       = var.project_id
  location      = var.region
  repository_id = var.name
  description   = "Images of the diffusion operator"
  format        = "DOCKER"
  kms_key_name  = var.kms_key
  labels        = var.labels

  docker_config {
    # A tag is a hash of the image's inputs, so it never refers to another image.
    immutable_tags = true
  }

  vulnerability_scanning_config {
    enablement_config = "INHERITED"
  }

  cleanup_policy_dry_run = false

  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = var.keep_versions
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "${var.delete_after_days * 86400}s"
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "this" {
  for_each = merge(
    { for name, member in var.readers : "reader-${name}" => { role = "roles/artifactregistry.reader", member = member } },
    { for name, member in var.writers : "writer-${name}" => { role = "roles/artifactregistry.writer", member = member } },
  )

  project    = var.project_id
  location   = google_artifact_registry_repository.this.location
  repository = google_artifact_registry_repository.this.name
  role       = each.value.role
  member     = each.value.member
}
