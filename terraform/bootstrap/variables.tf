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

variable "project_number" {
  description = "Number of the project (gcloud projects describe PROJECT --format='value(projectNumber)'); only a budget, a key and secrets need it."
  type        = string
  default     = null

  validation {
    condition     = var.project_number == null ? (var.budget == null && var.kms_key == null && length(var.secrets) == 0) : can(regex("^[0-9]+$", coalesce(var.project_number, "-")))
    error_message = "project_number must be the number of the project, and budget, kms_key and secrets need it: gcloud projects describe PROJECT --format='value(projectNumber)' prints it."
  }
}

variable "budget" {
  description = "Monthly budget of the project: the billing account, the amount in whole units of the account's currency, and addresses that are warned; null for none."
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string, "USD")
    emails          = optional(set(string), [])
  })
  default = null

  validation {
    condition = var.budget == null || try(
      can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.budget.billing_account)) && var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount
      && can(regex("^[A-Z]{3}$", var.budget.currency)) && alltrue([for each in var.budget.emails : can(regex("^[^@ ]+@[^@ ]+$", each))]) && length(var.budget.emails) <= 5,
      false,
    )
    error_message = "budget must hold a billing account such as 012345-6789AB-CDEF01, a whole amount from 1, a currency such as USD, and at most five addresses."
  }
}

variable "gpu_quota" {
  description = "Most GPUs of the project at one time, in all regions, and the address of a person who may change quotas; null to leave the quota as it is."
  type = object({
    gpus    = number
    contact = string
  })
  default = null

  validation {
    condition     = var.gpu_quota == null || try(var.gpu_quota.gpus >= 0 && floor(var.gpu_quota.gpus) == var.gpu_quota.gpus && can(regex("^[^@ ]+@[^@ ]+$", var.gpu_quota.contact)), false)
    error_message = "gpu_quota must hold a whole number of gpus from 0, and the address of a person in contact."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS, in the environment's region, that Google's services may use for the project's clusters, disks, buckets, images, backups and secrets; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", coalesce(var.kms_key, "-")))
    error_message = "kms_key must be the full name of a key: projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY."
  }
}

variable "region" {
  description = "Region that secrets stay in, such as europe-west4; only secrets need it."
  type        = string
  default     = null

  validation {
    condition     = var.region == null ? length(var.secrets) == 0 : can(regex("^[a-z]+-[a-z]+[0-9]+$", coalesce(var.region, "-")))
    error_message = "region must be a Google Cloud region such as europe-west4, and secrets need one."
  }
}

variable "secrets" {
  description = "Secrets of Secret Manager, such as a token of Hugging Face or API keys: by name, the Kubernetes service accounts that may read each, as namespace/name."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition = alltrue([
      for name, readers in var.secrets : can(regex("^[-_A-Za-z0-9]{1,255}$", name)) && alltrue([for each in readers : can(regex("^[a-z0-9][-a-z0-9]*/[a-z0-9][-.a-z0-9]*$", each))])
    ])
    error_message = "secrets must be names of letters, digits, dashes and underscores, each with Kubernetes service accounts as namespace/name, such as diffusion/secret-sync."
  }
}
