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

variable "ranges" {
  description = "Private IPv4 ranges in CIDR notation: of the nodes, of their pods, of the Kubernetes Services."
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

  validation {
    condition = alltrue([
      for range in values(var.ranges) : can(cidrhost(range, 0)) && try(range == "${cidrhost(range, 0)}/${split("/", range)[1]}", false)
    ])
    error_message = "Each of ranges must be an IPv4 range that begins at its first address, such as 10.10.0.0/22."
  }

  validation {
    # Two ranges overlap if the larger one contains the first address of the other.
    condition = try(alltrue([
      for pair in [["nodes", "pods"], ["nodes", "services"], ["pods", "services"]] :
      cidrhost("${split("/", var.ranges[pair[0]])[0]}/${min(split("/", var.ranges[pair[0]])[1], split("/", var.ranges[pair[1]])[1])}", 0)
      != cidrhost("${split("/", var.ranges[pair[1]])[0]}/${min(split("/", var.ranges[pair[0]])[1], split("/", var.ranges[pair[1]])[1])}", 0)
    ]), false)
    error_message = "The ranges of nodes, pods and services overlap: use disjoint ranges, for example 10.10.0.0/22, 10.20.0.0/16 and 10.30.0.0/20."
  }
}
