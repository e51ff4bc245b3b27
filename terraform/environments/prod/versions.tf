terraform {
  required_version = ">= 1.11.0, < 2.0.0"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "8.7.0"
    }
    helm = {
      source  = "hashicorp/helm"
      version = "3.3.0"
    }
  }

  # Objects of this bucket are the state; Cloud Storage locks it while a run writes. Say which:
  # terraform init -backend-config=bucket=…
  backend "gcs" {
    prefix = "prod"
  }
}
