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

variable "service_accounts" {
  description = "Accounts by name: purpose, roles on the project, and the jobs of GitHub's workflows that act as the account: those of an environment, or those without one that an event starts; of one ref or of any."
  type = map(object({
    description = string
    roles       = optional(set(string), [])
    github = optional(list(object({
      environment = optional(string)
      ref         = optional(string)
      event       = optional(string)
    })), [])
  }))
  nullable = false

  validation {
    condition = alltrue([
      for name in keys(var.service_accounts) : can(regex("^[a-z]([-a-z0-9]*[a-z0-9])?$", name)) && length("${var.name}-${name}") <= 30 && length("${var.name}-${name}") >= 6
    ])
    error_message = "Names of service_accounts must be lower-case letters, digits and dashes; name, a dash and such a name must be 6 to 30 characters long together."
  }

  validation {
    condition = !anytrue(flatten([
      for account in values(var.service_accounts) : [for role in account.roles : contains(["roles/owner", "roles/editor", "roles/viewer"], role)]
    ]))
    error_message = "roles/owner, roles/editor and roles/viewer reach everything in the project: list the roles that are needed."
  }

  validation {
    condition = !anytrue(flatten([
      for account in values(var.service_accounts) : [
        for role in account.roles : startswith(role, "roles/resourcemanager.") || startswith(role, "roles/iam.") || startswith(role, "roles/storage.")
      ]
    ]))
    error_message = "A role of IAM, of the resource manager or of Cloud Storage on the whole project reaches every account or bucket in it: grant it on the one account or bucket."
  }

  validation {
    condition     = var.github != null || alltrue([for account in values(var.service_accounts) : length(account.github) == 0])
    error_message = "An account lists GitHub workflows, so github must name their repository."
  }

  validation {
    condition = alltrue(flatten([
      for account in values(var.service_accounts) : [
        for job in account.github : (job.environment == null) != (job.event == null) && can(regex("^[-_A-Za-z0-9]+$", coalesce(job.environment, job.event, " ")))
      ]
    ]))
    error_message = "Each of github must name either an environment or an event: { environment = \"prod\" } or { event = \"pull_request\" }; no wildcards."
  }

  validation {
    condition = alltrue(flatten([
      for account in values(var.service_accounts) : [for job in account.github : can(regex("^refs/heads/[-_./A-Za-z0-9]+$", coalesce(job.ref, "refs/heads/main")))]
    ]))
    error_message = "ref must be a whole ref such as refs/heads/main; no wildcards."
  }

  validation {
    condition     = length(distinct(flatten([for account in values(var.service_accounts) : [for job in account.github : coalesce(job.environment, job.event, " ")]]))) == length(flatten([for account in values(var.service_accounts) : account.github]))
    error_message = "Two accounts list the same environment or event: a job can act as one account only."
  }
}

variable "github" {
  description = "GitHub's numbers of the repository whose workflows act as the accounts that list them, and of its owner (gh api repos/OWNER/NAME --jq '.id, .owner.id'); null for none."
  type = object({
    repository_id = string
    owner_id      = string
  })
  default = null

  validation {
    condition     = var.github == null || can(regex("^[0-9]+ [0-9]+$", "${var.github.repository_id} ${var.github.owner_id}"))
    error_message = "github must hold GitHub's numbers, not names: gh api repos/OWNER/NAME --jq '.id, .owner.id' prints both."
  }
}
