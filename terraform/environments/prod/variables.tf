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

variable "flex_start" {
  description = "Whether GPU nodes wait for capacity that Google lends for at most seven days, instead of capacity on demand or Spot; the gpu_pool module checks it."
  type        = bool
  default     = false
  nullable    = false
}

variable "reservation" {
  description = "Name of a Compute Engine reservation in the zones, which the GPU nodes use and nothing else; null for none."
  type        = string
  default     = null
}

variable "on_demand_fallback" {
  description = "Whether a pool on demand stands in where no Spot node is to be had: a ComputeClass prefers Spot."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.on_demand_fallback || var.spot
    error_message = "on_demand_fallback is for Spot capacity: set spot = true as well."
  }
}

variable "gpu_boot_disks" {
  description = "Disk images that GPU nodes start with, with the serving image (holds = images) or weights (holds = data); the gpu_pool module checks them."
  type = list(object({
    image = string
    holds = optional(string, "images")
  }))
  default  = []
  nullable = false
}

variable "existing_network" {
  description = "Network of a landing zone: ids of network and subnetwork, and the names of the subnetwork's secondary ranges; null to make a network. It needs private access to Google's APIs, and a NAT for models from elsewhere."
  type = object({
    network        = string
    subnetwork     = string
    pods_range     = string
    services_range = string
  })
  default = null

  validation {
    condition = var.existing_network == null || try(
      can(regex("^projects/[^/]+/global/networks/[^/]+$", var.existing_network.network)) && can(regex("^projects/[^/]+/regions/${var.region}/subnetworks/[^/]+$", var.existing_network.subnetwork)),
      false,
    )
    error_message = "existing_network must hold full ids: network = projects/PROJECT/global/networks/NAME, and a subnetwork of region, projects/PROJECT/regions/REGION/subnetworks/NAME."
  }
}

variable "existing_cluster" {
  description = "Cluster of a landing zone: its name, location and DNS endpoint; null to make a cluster. It needs Workload Identity, Dataplane V2 and managed Prometheus, as modules/cluster sets them."
  type = object({
    name     = string
    location = string
    endpoint = string
  })
  default = null

  validation {
    condition     = var.existing_cluster == null || try(endswith(var.existing_cluster.endpoint, ".gke.goog") && startswith(var.existing_cluster.location, var.region), false)
    error_message = "existing_cluster must be a cluster of region with its DNS endpoint, such as gke-0123456789abcdef.us-central1.gke.goog (gcloud container clusters describe NAME --format='value(controlPlaneEndpointsConfig.dnsEndpointConfig.endpoint)')."
  }

  validation {
    condition     = var.existing_cluster == null || (var.existing_network == null && var.backup == null && !var.secret_sync && length(var.maintenance_exclusions) == 0)
    error_message = "existing_network, backup, secret_sync and maintenance_exclusions are settings of a cluster that is made here: leave them out with existing_cluster, and set them where that cluster is made."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS, in region, for disks, Secrets in etcd, images, models and backups; the bootstrap lets Google's services use it. Null for Google's own encryption."
  type        = string
  default     = null
}

variable "secret_sync" {
  description = "Whether GKE copies secrets of Secret Manager to the Kubernetes Secrets that DiffusionServices name."
  type        = bool
  default     = false
  nullable    = false
}

variable "backup" {
  description = "Backup of the cluster's objects, for example { retain_days = 14 }; null for none. The cluster module checks it."
  type = object({
    schedule    = optional(string, "0 3 * * *")
    retain_days = optional(number, 14)
  })
  default = null
}

variable "maintenance_exclusions" {
  description = "Times without upgrades, by name: { sale = { from = \"2026-11-20T00:00:00Z\", to = \"2026-12-02T00:00:00Z\" } }. The cluster module checks them."
  type = map(object({
    from  = string
    to    = string
    scope = optional(string, "NO_UPGRADES")
  }))
  default  = {}
  nullable = false
}
