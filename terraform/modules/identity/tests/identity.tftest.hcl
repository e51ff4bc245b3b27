mock_provider "google" {
  mock_resource "google_iam_workload_identity_pool" {
    defaults = {
      name = "projects/123456789012/locations/global/workloadIdentityPools/ci-github"
    }
  }
}

variables {
  project_id = "team-diffusion"
  name       = "prod"
  github     = { repository_id = "456789", owner_id = "123456" }

  service_accounts = {
    nodes = {
      description = "Runs nodes"
      roles       = ["roles/container.defaultNodeServiceAccount"]
    }
    deploy = {
      description = "Deploys"
      roles       = ["roles/container.admin"]
      github      = [{ environment = "prod", ref = "refs/heads/main" }]
    }
  }
}

run "gives_each_account_its_roles_and_no_more" {
  command = plan

  assert {
    condition     = sort(keys(google_project_iam_member.role)) == tolist(["deploy roles/container.admin", "nodes roles/container.defaultNodeServiceAccount"])
    error_message = "Accounts must have only the listed roles."
  }
}

run "exchanges_tokens_instead_of_keys" {
  assert {
    condition     = { for job, binding in google_service_account_iam_member.github : job => binding.member } == { "environment:prod" = "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/ci-github/attribute.job/environment:prod" }
    error_message = "The jobs of one GitHub environment act as the account."
  }
}

run "does_without_github" {
  command = plan
  variables {
    github           = null
    service_accounts = { nodes = { description = "Runs nodes" } }
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

run "refuses_every_bucket_at_once" {
  command = plan
  variables {
    service_accounts = { deploy = { description = "Deploys", roles = ["roles/storage.admin"] } }
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
    github           = null
    service_accounts = { deploy = { description = "Deploys", github = [{ environment = "prod" }] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_every_workflow_at_once" {
  command = plan
  variables {
    service_accounts = { deploy = { description = "Deploys", github = [{ environment = "*" }] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_every_branch_at_once" {
  command = plan
  variables {
    service_accounts = { deploy = { description = "Deploys", github = [{ environment = "prod", ref = "refs/heads/*" }] } }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_one_job_for_two_accounts" {
  command = plan
  variables {
    service_accounts = {
      deploy = { description = "Deploys", github = [{ environment = "prod" }] }
      other  = { description = "Deploys, too", github = [{ environment = "prod" }] }
    }
  }
  expect_failures = [var.service_accounts]
}

run "refuses_a_repository_by_its_name" {
  command = plan
  variables { github = { repository_id = "team/diffusion", owner_id = "team" } }
  expect_failures = [var.github]
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
