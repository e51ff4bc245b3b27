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

variable "github" {
  description = "GitHub's numbers of the repository whose workflows plan and deploy, and of its owner (gh api repos/OWNER/NAME --jq '.id, .owner.id')."
  type = object({
    repository_id = string
    owner_id      = string
  })
  nullable = false

  validation {
    condition     = can(regex("^[0-9]+ [0-9]+$", "${var.github.repository_id} ${var.github.owner_id}"))
    error_message = "github must hold GitHub's numbers, not names: gh api repos/OWNER/NAME --jq '.id, .owner.id' prints both."
  }
}

variable "state_bucket" {
  description = "Name of the bucket that holds the environment's Terraform state; not the bucket of the bootstrap's own state."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][-a-z0-9_.]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket must be the name of a bucket, without gs://."
  }
}
