mock_provider "google" {
  mock_resource "google_iam_workload_identity_pool" {
    defaults = {
      name = "projects/123456789012/locations/global/workloadIdentityPools/ci-github"
    }
  }
}

variables {
  project_id        = "team-diffusion"
  name              = "prod"
  github_repository = "team/diffusion"

  service_accounts = {
    nodes = {
      description = "Runs nodes"
      roles       = ["roles/container.defaultNodeServiceAccount"]
    }
    models = {
      description = "Reads models"
      kubernetes  = ["default/stable-diffusion"]
    }
    deploy = {
      description = "Deploys"
      roles       = ["roles/container.admin"]
      may_grant   = ["roles/container.defaultNodeServiceAccount"]
      github      = ["environment:prod"]
    }
  }
}

run "gives_each_account_its_roles_and_no_more" {
  command = plan

  assert {
    condition     = sort(keys(google_project_iam_member.role)) == tolist(["deploy roles/container.admin", "nodes roles/container.defaultNodeServiceAccount"])
    error_message = "Accounts must have only the listed roles."
  }

  assert {
    condition     = keys(google_project_iam_member.grants) == ["deploy"] && strcontains(one(google_project_iam_member.grants["deploy"].condition).expression, ".hasOnly(['roles/container.defaultNodeServiceAccount'])")
    error_message = "An account that may grant roles must be limited to the listed ones."
  }
}

run "exchanges_tokens_instead_of_keys" {
  assert {
    condition     = google_service_account_iam_member.kubernetes["models default/stable-diffusion"].member == "serviceAccount:team-diffusion.svc.id.goog[default/stable-diffusion]"
    error_message = "The pods of one Kubernetes service account act as the account."
  }

  assert {
    condition     = google_service_account_iam_member.github["deploy environment:prod"].member == "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/ci-github/subject/repo:team/diffusion:environment:prod"
    error_message = "The jobs of one GitHub environment act as the account."
  }

  assert {
    condition     = one(google_iam_workload_identity_pool_provider.github).attribute_condition == "assertion.sub in ['repo:team/diffusion:environment:prod']"
    error_message = "Every other token of GitHub must be refused."
  }
}

run "does_without_github" {
  command = plan
  variables {
    github_repository = null
    service_accounts  = { nodes = { description = "Runs nodes" } }
  }

  assert {
    condition     = length(google_iam_workload_identity_pool.github) == 0 && output.github_provider == null
    error_message = "Without a repository there must be no pool for it."
  }
}

run "refuses_a_primitive_role" {
  command = plan
  variables {
    service_accounts = { nodes = { description = "Runs nodes", roles = ["roles/editor"] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_a_primitive_role_to_give" {
  command = plan
  variables {
    service_accounts = { deploy = { description = "Deploys", may_grant = ["roles/owner"] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_a_role_that_gives_any_role" {
  command = plan
  variables {
    service_accounts = { deploy = { description = "Deploys", roles = ["roles/resourcemanager.projectIamAdmin"] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_workflows_of_nobody" {
  command = plan
  variables {
    github_repository = null
    service_accounts  = { deploy = { description = "Deploys", github = ["environment:prod"] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_every_workflow_at_once" {
  command = plan
  variables {
    service_accounts = { deploy = { description = "Deploys", github = ["*"] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_a_pod_without_a_namespace" {
  command = plan
  variables {
    service_accounts = { models = { description = "Reads models", kubernetes = ["stable-diffusion"] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_a_repository_with_its_address" {
  command = plan
  variables { github_repository = "https://github.com/team/diffusion" }
  expect_failures = [var.github_repository]
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_a_name_with_capitals" {
  command = plan
  variables { name = "Prod" }
  expect_failures = [var.name]
}
