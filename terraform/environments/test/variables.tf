variable "project_id" {
  description = "Id of the Google Cloud project."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the id of a Google Cloud project: 6 to 30 lower-case letters, digits and dashes that start with a letter, such as team-diffusion-prod (gcloud projects list shows yours)."
  }
}

# Only its own validation reads it, which tflint does not count as a use.
# tflint-ignore: terraform_unused_declarations
variable "prod_project_id" {
  description = "Id of prod's project, which this environment must not use."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.prod_project_id))
    error_message = "prod_project_id must be the id of prod's project, so that this environment can avoid it."
  }

  validation {
    condition     = var.prod_project_id != var.project_id
    error_message = "The test environment needs a project of its own: project_id is prod's."
  }
}

variable "branch" {
  description = "Git branch of the environment, from which the names of its resources follow."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]", lower(var.branch)))
    error_message = "branch must be the name of a Git branch that starts with a letter or a digit."
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

variable "zone" {
  description = "Zone of the control plane and the nodes, within region, with the accelerator. One zone is cheaper, and enough for a short-lived environment."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^${var.region}-[a-z]$", var.zone))
    error_message = "zone must be a zone of region, such as europe-west4-a."
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
    nodes    = "10.110.0.0/22"
    pods     = "10.120.0.0/16"
    services = "10.130.0.0/20"
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

variable "spot" {
  description = "Whether GPUs are Spot capacity, which Google may take back."
  type        = bool
  default     = true
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

variable "install_operator" {
  description = "Whether Terraform installs the operator; false if Argo CD does."
  type        = bool
  default     = true
  nullable    = false
}
