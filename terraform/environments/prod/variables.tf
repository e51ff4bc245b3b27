variable "project_id" {
  description = "Id of the Google Cloud project."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the id of a Google Cloud project: 6 to 30 lower-case letters, digits and dashes that start with a letter, such as team-diffusion-prod (gcloud projects list shows yours)."
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

variable "zones" {
  description = "Zones of the nodes, within region, each with the accelerator."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.zones) > 0 && alltrue([for zone in var.zones : can(regex("^${var.region}-[a-z]$", zone))])
    error_message = "zones must name at least one zone of region, such as europe-west4-a."
  }
}

variable "ranges" {
  description = "Private IPv4 ranges of the nodes, of their pods and of the Kubernetes Services; the network module checks them."
  type = object({
    nodes    = string
    pods     = string
    services = string
  })
  nullable = false
  default = {
    nodes    = "10.10.0.0/22"
    pods     = "10.20.0.0/16"
    services = "10.30.0.0/20"
  }
}

variable "accelerator" {
  description = "GPU by its name in the operator's accelerator catalogue; the gpu_pool module knows which zones have it."
  type        = string
  default     = "nvidia-l4"
  nullable    = false
}

variable "max_gpu_nodes" {
  description = "Maximum number of GPU nodes; 3 is the study's set-up."
  type        = number
  default     = 3
  nullable    = false
}

variable "min_gpu_nodes" {
  description = "Number of GPU nodes that stay even when idle; each costs its full price, and saves the minutes of a cold start."
  type        = number
  default     = 0
  nullable    = false
}

variable "gpu_machine_type" {
  description = "Machine type of the GPU nodes, such as g2-standard-8, if the accelerator's usual one is too small; the gpu_pool module checks it."
  type        = string
  default     = null
}

variable "spot" {
  description = "Whether GPUs are Spot capacity, which Google may take back."
  type        = bool
  default     = false
  nullable    = false
}

variable "model_readers" {
  description = "Kubernetes service accounts, as namespace/name, whose pods read models from the bucket; the operator names a service's account after it."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "tag" {
  description = "Tag of the images that images doesn't name; empty for the chart's version."
  type        = string
  default     = ""
  nullable    = false
}

variable "images" {
  description = "Images by digest, as the images workflow reports them; the operator module checks them."
  type = object({
    operator = optional(string, "")
    loadtest = optional(string, "")
    backends = optional(map(string), {})
  })
  default  = {}
  nullable = false
}

variable "commit" {
  description = "Commit that CI applies, so that a later run does not go back behind it; empty for an apply by hand."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([0-9a-f]{40})?$", var.commit))
    error_message = "commit must be a whole commit id of 40 hex digits, or empty."
  }
}

variable "install_operator" {
  description = "Whether Terraform installs the operator; false if Argo CD does."
  type        = bool
  default     = true
  nullable    = false
}

variable "protect" {
  description = "Whether the cluster, and a bucket with models in it, are protected against destruction; false for the teardown."
  type        = bool
  default     = true
  nullable    = false
}
