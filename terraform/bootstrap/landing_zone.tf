# Keys and secrets of an organisation: who may use a key, and who may read a secret. CI gets neither right.
locals {
  # Google's own accounts, which encrypt for the project: Secrets in etcd, disks, buckets, images, backups and secrets.
  encrypting_agents = var.kms_key == null ? {} : {
    for service in ["container-engine-robot", "compute-system", "gs-project-accounts", "gcp-sa-artifactregistry", "gcp-sa-gkebackup", "gcp-sa-secretmanager"] :
    service => "serviceAccount:service-${var.project_number}@${service}.iam.gserviceaccount.com"
  }

  secret_readers = merge([
    for secret, readers in var.secrets : { for reader in readers : "${secret} ${reader}" => { secret = secret, reader = split("/", reader) } }
  ]...)
}

resource "google_kms_crypto_key_iam_member" "agents" {
  for_each = local.encrypting_agents

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = each.value

  depends_on = [module.services]
}

# The values are added by hand: none is in the configuration or in the state.
resource "google_secret_manager_secret" "this" {
  for_each = var.secrets

  project   = var.project_id
  secret_id = each.key

  replication {
    user_managed {
      replicas {
        location = var.region
        dynamic "customer_managed_encryption" {
          for_each = var.kms_key == null ? [] : [var.kms_key]
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }

  depends_on = [module.services, google_kms_crypto_key_iam_member.agents]
}

resource "google_secret_manager_secret_iam_member" "readers" {
  for_each = local.secret_readers

  project   = var.project_id
  secret_id = google_secret_manager_secret.this[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = "principal://iam.googleapis.com/projects/${var.project_number}/locations/global/workloadIdentityPools/${var.project_id}.svc.id.goog/subject/ns/${each.value.reader[0]}/sa/${each.value.reader[1]}"
}
