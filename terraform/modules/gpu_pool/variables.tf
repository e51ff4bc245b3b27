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
  description = "Name of the pool, such as l4."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", var.name))
    error_message = "name must be 1 to 40 lower-case letters, digits and dashes that start with a letter and end with a letter or a digit."
  }
}

variable "cluster" {
  description = "Name of the cluster, from the cluster module."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", var.cluster))
    error_message = "cluster must be the name of a cluster: take it from the cluster module."
  }
}

variable "location" {
  description = "Region or zone of the cluster."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+(-[a-z])?$", var.location))
    error_message = "location must be a region such as europe-west4 or a zone such as europe-west4-a."
  }
}

variable "zones" {
  description = "Zones that the nodes may be in; each must list the accelerator."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.zones) > 0 && alltrue([for zone in var.zones : startswith(zone, var.location)])
    error_message = "zones must name at least one zone, and each must lie in location."
  }

  validation {
    condition     = alltrue([for zone in var.zones : contains(try(local.accelerators[var.accelerator].zones, []), zone)])
    error_message = "A zone does not list this accelerator. For ${var.accelerator} choose from: ${join(", ", try(local.accelerators[var.accelerator].zones, ["(unknown accelerator)"]))}."
  }
}

variable "accelerator" {
  description = "GPU by its name in the operator's accelerator catalogue (spec.gpu.type of a DiffusionService)."
  type        = string
  default     = "nvidia-l4"
  nullable    = false

  validation {
    condition     = contains(keys(local.accelerators), var.accelerator)
    error_message = "accelerator must be one of: ${join(", ", sort(keys(local.accelerators)))}."
  }
}

variable "gpus_per_node" {
  description = "GPUs of each node."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([for count in keys(try(local.accelerators[var.accelerator].machine_types, { 1 = "" })) : tonumber(count)], var.gpus_per_node)
    error_message = "gpus_per_node must be a number of GPUs that ${var.accelerator} machines come with: ${join(", ", keys(try(local.accelerators[var.accelerator].machine_types, { 1 = "" })))}."
  }
}

variable "machine_type" {
  description = "Machine type, such as g2-standard-8, if the usual one for accelerator and gpus_per_node has too few processors or too little memory."
  type        = string
  default     = null

  validation {
    condition     = var.machine_type == null || startswith(coalesce(var.machine_type, "-"), try(regex("^[a-z0-9]+-[a-z]+", local.accelerators[var.accelerator].machine_types[1]), "-"))
    error_message = "machine_type must be of the family with ${var.accelerator}: ${try(join(", ", values(local.accelerators[var.accelerator].machine_types)), "")} or a sibling."
  }
}

variable "min_nodes" {
  description = "Minimum number of nodes, even when idle; with 0, the pool costs nothing while no service needs a GPU."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.min_nodes >= 0 && floor(var.min_nodes) == var.min_nodes
    error_message = "min_nodes must be a whole number from 0."
  }
}

variable "max_nodes" {
  description = "Maximum number of nodes in all zones together; the project's GPU quota must allow max_nodes times gpus_per_node."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.max_nodes >= 1 && var.max_nodes >= var.min_nodes
    error_message = "max_nodes must be at least 1 and no lower than min_nodes."
  }
}

variable "spot" {
  description = "Whether to use Spot capacity, at less than half the price, which Google may take back at any time."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.spot || var.flex_start || var.reservation != null || !try(local.accelerators[var.accelerator].spot_only, false)
    error_message = "Google does not sell ${var.accelerator} on demand in machines of this size: set spot = true, flex_start = true or a reservation, or choose another accelerator."
  }

  validation {
    condition     = !var.spot || !(var.flex_start || var.reservation != null)
    error_message = "Spot capacity comes neither by flex_start nor from a reservation: set one of the three."
  }
}

variable "flex_start" {
  description = "Whether Google may let a node wait for capacity; the node then lives for at most seven days, at a lower price than on demand."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.flex_start || (var.reservation == null && var.min_nodes == 0)
    error_message = "flex_start is a way of its own to get capacity: it excludes a reservation and min_nodes above 0."
  }
}

variable "reservation" {
  description = "Name of the Compute Engine reservation that the nodes use, and no other capacity; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.reservation == null || can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", coalesce(var.reservation, "-")))
    error_message = "reservation must be the name of a reservation (gcloud compute reservations list)."
  }
}

variable "compute_class" {
  description = "Name of the ComputeClass that the nodes belong to; only pods that select the class run there. Null for none."
  type        = string
  default     = null

  validation {
    condition     = var.compute_class == null || can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", coalesce(var.compute_class, "-")))
    error_message = "compute_class must be 1 to 63 lower-case letters, digits and dashes that start with a letter."
  }
}

variable "boot_disks" {
  description = "Disk images of which each node gets a copy when it starts: container images (holds = images), or weights (holds = data)."
  type = list(object({
    image = string
    holds = optional(string, "images")
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for disk in var.boot_disks : can(regex("^projects/[^/]+/global/images/[^/]+$", disk.image)) && contains(["images", "data"], disk.holds)])
    error_message = "Each of boot_disks must name a disk image as projects/PROJECT/global/images/NAME, and what it holds: images or data."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS for the nodes' boot disks; null for Google's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", coalesce(var.kms_key, "-")))
    error_message = "kms_key must be the full name of a key: projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY."
  }
}

variable "driver" {
  description = "NVIDIA driver that GKE installs: DEFAULT of the GKE version, or LATEST."
  type        = string
  default     = "LATEST"
  nullable    = false

  validation {
    condition     = contains(["DEFAULT", "LATEST"], var.driver)
    error_message = "driver must be DEFAULT or LATEST."
  }
}

variable "disk_gb" {
  description = "Size of each node's boot disk in GB; it holds the serving image (6 GB) and cached models."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.disk_gb >= 50
    error_message = "disk_gb must be at least 50, so that the serving image and a model fit."
  }
}

variable "node_service_account" {
  description = "Email of the account that nodes run as, from the identity module."
  type        = string
  nullable    = false

  validation {
    condition     = !endswith(var.node_service_account, "-compute@developer.gserviceaccount.com")
    error_message = "node_service_account must not be the project's default compute account, which may do almost anything: take one from the identity module."
  }
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
