# A bucket for models, which pods read as gs://… or mount with the Cloud Storage FUSE CSI driver.
resource "google_storage_bucket" "models" {
  #checkov:skip=CKV_GCP_62:Cloud Audit Logs record reads and writes; usage logs would need a second bucket, to which the same check applies.
  project  = var.project_id
  name     = "${var.project_id}-${var.name}-models"
  location = var.region
  labels   = var.labels

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.force_destroy

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  # An overwritten model is kept for a rollback, then deleted to save its cost.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      num_newer_versions         = 2
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = merge(
    { for name, member in var.readers : "reader-${name}" => { role = "roles/storage.objectViewer", member = member } },
    { for name, member in var.writers : "writer-${name}" => { role = "roles/storage.objectUser", member = member } },
  )

  bucket = google_storage_bucket.models.name
  role   = each.value.role
  member = each.value.member
}
