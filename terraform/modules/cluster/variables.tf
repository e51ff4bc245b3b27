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

variable "location" {
  description = "Region, for a control plane in three zones, or zone, for a cheaper one in one zone."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+(-[a-z])?$", var.location))
    error_message = "location must be a region such as europe-west4 or a zone such as europe-west4-a."
  }
}

variable "zones" {
  description = "Zones of the system pool's nodes, within location."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.zones) > 0 && alltrue([for zone in var.zones : can(regex("^[a-z]+-[a-z]+[0-9]+-[a-z]$", zone))])
    error_message = "zones must name at least one zone such as europe-west4-a."
  }

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.location)])
    error_message = "Each of zones must lie in location: a node outside can't join the cluster."
  }
}

variable "network" {
  description = "Id of the network, from the network module."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.network) > 0
    error_message = "network must be the id of a network: take it from the network module."
  }
}

variable "subnetwork" {
  description = "Id of the nodes' subnetwork, from the network module."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.subnetwork) > 0
    error_message = "subnetwork must be the id of a subnetwork: take it from the network module."
  }
}

variable "pods_range" {
  description = "Name of the subnetwork's secondary range for pods."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.pods_range))
    error_message = "pods_range must be the name of a secondary range, such as pods, not the range itself."
  }
}

variable "services_range" {
  description = "Name of the subnetwork's secondary range for Kubernetes Services."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", var.services_range))
    error_message = "services_range must be the name of a secondary range, such as services, not the range itself."
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

variable "release_channel" {
  description = "Release channel, which decides how soon GKE upgrades the cluster: RAPID, REGULAR or STABLE."
  type        = string
  default     = "REGULAR"
  nullable    = false

  validation {
    condition     = contains(["RAPID", "REGULAR", "STABLE"], var.release_channel)
    error_message = "release_channel must be RAPID, REGULAR or STABLE."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to destroy the cluster."
  type        = bool
  default     = true
  nullable    = false
}

variable "system_pool" {
  description = "Nodes without a GPU: machine type, size of the boot disk in GB, and minimum and maximum number of nodes in all zones together."
  type = object({
    machine_type = optional(string, "e2-standard-4")
    disk_gb      = optional(number, 50)
    min_nodes    = optional(number, 1)
    max_nodes    = optional(number, 3)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.system_pool.min_nodes >= 1 && var.system_pool.max_nodes >= var.system_pool.min_nodes
    error_message = "system_pool must have at least one node, and max_nodes no lower than min_nodes: the operator runs there."
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

variable "kms_key" {
  description = "Key of Cloud KMS for the nodes' disks, the Secrets in etcd and the backups; null for Google's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", coalesce(var.kms_key, "-")))
    error_message = "kms_key must be the full name of a key: projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY."
  }
}

variable "maintenance_exclusions" {
  description = "Times without maintenance, by name: from and to (RFC 3339), and the scope, NO_UPGRADES (at most 30 days), NO_MINOR_UPGRADES or NO_MINOR_OR_NODE_UPGRADES."
  type = map(object({
    from  = string
    to    = string
    scope = optional(string, "NO_UPGRADES")
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for each in values(var.maintenance_exclusions) :
      can(timecmp(each.from, each.to)) && try(timecmp(each.from, each.to) < 0, false) && contains(["NO_UPGRADES", "NO_MINOR_UPGRADES", "NO_MINOR_OR_NODE_UPGRADES"], each.scope)
      && (each.scope != "NO_UPGRADES" || try(timecmp(each.to, timeadd(each.from, "720h")) <= 0, false))
    ])
    error_message = "Each of maintenance_exclusions must end after it begins, with times such as 2026-12-20T00:00:00Z; a scope of NO_UPGRADES lasts at most 30 days."
  }
}

variable "secret_sync" {
  description = "Whether GKE copies secrets of Secret Manager to Kubernetes Secrets, as SecretSync objects say."
  type        = bool
  default     = false
  nullable    = false
}

variable "backup" {
  description = "Backup of all objects of the cluster: when, as cron writes it, and the days for which each is kept; null for none."
  type = object({
    schedule    = optional(string, "0 3 * * *")
    retain_days = optional(number, 14)
  })
  default = null

  validation {
    condition     = var.backup == null || try(length(split(" ", var.backup.schedule)) == 5 && var.backup.retain_days >= 1, false)
    error_message = "backup must hold a schedule of five fields, such as 0 3 * * *, and retain_days of at least 1."
  }
}
