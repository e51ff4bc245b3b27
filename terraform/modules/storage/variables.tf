variable "project_id" {
  description = "Id of the Google Cloud project."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the id of a Google Cloud project: 6 to 30 lower-case letters, digits and dashes that start with a letter, such as team-diffusion-prod (gcloud projects list shows yours)."
  }
}

variable "name" {
  description = "Prefix of the names of all resources, so that several environments can share a project."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$", var.name))
    error_message = "name must be 1 to 20 lower-case letters, digits and dashes that start with a letter and end with a letter or a digit: Google limits the names built from it to 30 characters."
  }
}

variable "region" {
  description = "Region of everything regional, such as europe-west4."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a Google Cloud region such as europe-west4, not a zone such as europe-west4-a."
  }
}

variable "readers" {
  description = "Accounts that may read models, by a name of your choice."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = !anytrue([for member in values(var.readers) : contains(["allUsers", "allAuthenticatedUsers"], member)])
    error_message = "readers must be named accounts, never allUsers or allAuthenticatedUsers, which are the whole world."
  }
}

variable "writers" {
  description = "Accounts that may write and replace models, by a name of your choice."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = !anytrue([for member in values(var.writers) : contains(["allUsers", "allAuthenticatedUsers"], member)])
    error_message = "writers must be named accounts, never allUsers or allAuthenticatedUsers, which are the whole world."
  }
}

variable "force_destroy" {
  description = "Whether destroying the bucket also deletes its models."
  type        = bool
  default     = false
  nullable    = false
}

variable "labels" {
  description = "Labels of all resources that can have labels, for bills and searches."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.labels : can(regex("^[a-z][-_a-z0-9]{0,62}$", key)) && can(regex("^[-_a-z0-9]{0,63}$", value))])
    error_message = "labels must be lower-case letters, digits, dashes and underscores, at most 63 of them, and begin with a letter: Google takes no others."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS for the models; null for Google's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", coalesce(var.kms_key, "-")))
    error_message = "kms_key must be the full name of a key: projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY."
  }
}
