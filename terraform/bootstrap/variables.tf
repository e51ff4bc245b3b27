variable "project_id" {
  description = "Id of the Google Cloud project."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the id of a Google Cloud project: 6 to 30 lower-case letters, digits and dashes that start with a letter, such as team-diffusion-prod (gcloud projects list shows yours)."
  }
}

variable "environment" {
  description = "GitHub environment whose jobs may deploy to this project: test or prod."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["test", "prod"], var.environment)
    error_message = "environment must be test or prod."
  }
}

variable "github_repository" {
  description = "owner/name of the repository whose workflows plan and deploy."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[-_.A-Za-z0-9]+/[-_.A-Za-z0-9]+$", var.github_repository))
    error_message = "github_repository must be owner/name, without https://github.com/."
  }
}

variable "state_bucket" {
  description = "Name of the bucket that holds the project's Terraform state."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][-a-z0-9_.]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket must be the name of a bucket, without gs://."
  }
}
