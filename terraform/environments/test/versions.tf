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

  # The state is in a bucket, which Cloud Storage locks while a run writes. Name the bucket:
  # terraform init -backend-config=bucket=… -backend-config=prefix=test/BRANCH
  backend "gcs" {}
}
