variable "name" {
  description = "Name of the release, of its Deployment and of its accounts."
  type        = string
  default     = "diffusion-operator"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,51}[a-z0-9])?$", var.name))
    error_message = "name must be 1 to 53 lower-case letters, digits and dashes that start with a letter: Helm accepts no others."
  }
}

variable "namespace" {
  description = "Namespace of the operator; created if it is missing."
  type        = string
  default     = "diffusion-system"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace must be 1 to 63 lower-case letters, digits and dashes."
  }
}

variable "chart" {
  description = "Directory or reference of the chart; null for the one in this repository."
  type        = string
  default     = null

  validation {
    condition     = var.chart == null || length(coalesce(var.chart, " ")) > 1
    error_message = "chart must be a directory or the reference of a chart, such as oci://registry.example/charts/diffusion-operator."
  }
}

variable "registry" {
  description = "Prefix of every image's name, from the registry module."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][-a-z0-9.]*(:[0-9]+)?(/[a-z0-9][-a-z0-9._]*)*$", var.registry))
    error_message = "registry must be a host and a path without a scheme, such as europe-west4-docker.pkg.dev/team/diffusion."
  }
}

variable "tag" {
  description = "Tag of the images that images doesn't name; empty for the chart's version."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9_][-.A-Za-z0-9_]{0,127})?$", var.tag))
    error_message = "tag must be the tag of an image, without the image's name and the colon."
  }
}

variable "images" {
  description = "Full references of images, preferably by digest: of the operator, of the load test's runner, and of the serving image of each backend."
  type = object({
    operator = optional(string, "")
    loadtest = optional(string, "")
    backends = optional(map(string), {})
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.images.backends) : contains(["fastapi", "litserve", "rayserve"], name)])
    error_message = "images.backends must be named fastapi, litserve or rayserve."
  }
}

variable "resources" {
  description = "Resource requests and limits of the operator's pod."
  type = object({
    requests = optional(map(string), {})
    limits   = optional(map(string), {})
  })
  nullable = false
  default = {
    requests = { cpu = "100m", memory = "192Mi" }
    limits   = { memory = "512Mi" }
  }

  validation {
    condition     = alltrue([for quantity in concat(values(var.resources.requests), values(var.resources.limits)) : can(regex("^[0-9.]+([EPTGMk]i?|m)?$", quantity))])
    error_message = "resources must be quantities in Kubernetes' notation, such as 100m of cpu and 192Mi of memory."
  }
}

variable "install_crds" {
  description = "Whether the chart installs the CustomResourceDefinitions; false if Argo CD does."
  type        = bool
  default     = true
  nullable    = false
}

variable "values" {
  description = "Further values of the chart, which override the ones above; deploy/chart/values.yaml lists them."
  type        = any
  default     = {}
  nullable    = false
}
