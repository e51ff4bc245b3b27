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
  description = "Accounts by name: purpose, roles on the project, roles that the account may grant to others, and the identities that act as the account: Kubernetes service accounts as namespace/name, GitHub workflows as environment:NAME, pull_request or ref:refs/heads/NAME."
  type = map(object({
    description = string
    roles       = optional(set(string), [])
    may_grant   = optional(set(string), [])
    kubernetes  = optional(set(string), [])
    github      = optional(set(string), [])
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
      for account in values(var.service_accounts) : [
        for role in setunion(account.roles, account.may_grant) : contains(["roles/owner", "roles/editor", "roles/viewer"], role)
      ]
    ]))
    error_message = "roles/owner, roles/editor and roles/viewer reach everything in the project: list the roles that are needed."
  }

  validation {
    condition = !anytrue(flatten([
      for account in values(var.service_accounts) : [
        for role in account.roles : contains(["roles/resourcemanager.projectIamAdmin", "roles/iam.securityAdmin", "roles/iam.serviceAccountKeyAdmin"], role)
      ]
    ]))
    error_message = "An account may not have a role that grants any other role or creates keys: list in may_grant the roles that it may grant."
  }

  validation {
    condition = alltrue(flatten([
      for account in values(var.service_accounts) : [for subject in account.kubernetes : can(regex("^[a-z0-9][-a-z0-9]*/[a-z0-9][-.a-z0-9]*$", subject))]
    ]))
    error_message = "kubernetes must list Kubernetes service accounts as namespace/name, such as default/stable-diffusion."
  }

  validation {
    condition     = var.github_repository != null || alltrue([for account in values(var.service_accounts) : length(account.github) == 0])
    error_message = "An account lists GitHub workflows, so github_repository must name their repository."
  }

  validation {
    condition = alltrue(flatten([
      for account in values(var.service_accounts) : [for subject in account.github : can(regex("^(pull_request|environment:[-_A-Za-z0-9]+|ref:refs/heads/[-_./A-Za-z0-9]+)$", subject))]
    ]))
    error_message = "github must list pull_request, environment:NAME or ref:refs/heads/NAME; no wildcards."
  }
}

variable "github_repository" {
  description = "owner/name of the GitHub repository whose workflows may act as the accounts that list them; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[-_.A-Za-z0-9]+/[-_.A-Za-z0-9]+$", var.github_repository))
    error_message = "github_repository must be owner/name, without https://github.com/."
  }
}
