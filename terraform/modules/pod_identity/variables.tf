variable "project_id" {
  description = "Id of the Google Cloud project."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the id of a Google Cloud project: 6 to 30 lower-case letters, digits and dashes that start with a letter, such as team-diffusion-prod (gcloud projects list shows yours)."
  }
}

variable "service_account" {
  description = "Email of the account, from the bootstrap."
  type        = string
  nullable    = false

  validation {
    condition     = endswith(var.service_account, "@${var.project_id}.iam.gserviceaccount.com")
    error_message = "service_account must be the email of an account of the project, such as prod-models@team-diffusion-prod.iam.gserviceaccount.com."
  }
}

variable "pods" {
  description = "Kubernetes service accounts whose pods act as the account, as namespace/name."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for subject in var.pods : can(regex("^[a-z0-9][-a-z0-9]*/[a-z0-9][-.a-z0-9]*$", subject))])
    error_message = "pods must be Kubernetes service accounts as namespace/name, such as default/stable-diffusion."
  }
}
