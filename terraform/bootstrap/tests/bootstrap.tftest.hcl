mock_provider "google" {}

variables {
  project_id        = "team-diffusion-prod"
  environment       = "prod"
  github_repository = "team/diffusion"
  state_bucket      = "team-diffusion-prod-terraform"
}

run "lets_only_the_environments_jobs_deploy" {
  assert {
    condition     = output.workload_identity_provider != null && output.deploy_service_account != output.plan_service_account
    error_message = "Planning and deploying must be different accounts."
  }

  assert {
    condition     = google_storage_bucket_iam_member.plan_reads_state.role == "roles/storage.objectViewer"
    error_message = "A plan may only read the state."
  }
}

run "makes_accounts_and_no_key" {
  command = plan

  # The check covers all directories: without such a resource in any file, no key can be created.
  assert {
    condition     = length(module.identity.emails) == 2 && alltrue([for name in fileset("..", "**/*.tf") : !strcontains(file("../${name}"), "google_service_account_key")])
    error_message = "No key of a service account may be created: workloads exchange tokens instead."
  }
}

run "gives_no_primitive_role" {
  command = plan

  assert {
    condition     = length(module.identity.roles) > 5 && length(setintersection(module.identity.roles, ["roles/owner", "roles/editor", "roles/viewer"])) == 0
    error_message = "roles/owner, roles/editor and roles/viewer reach everything in the project."
  }
}

run "refuses_an_unknown_environment" {
  command = plan
  variables { environment = "staging" }
  expect_failures = [var.environment]
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_a_bucket_with_its_scheme" {
  command = plan
  variables { state_bucket = "gs://team-state" }
  expect_failures = [var.state_bucket]
}

run "refuses_a_repository_with_its_address" {
  command = plan
  variables { github_repository = "https://github.com/team/diffusion" }
  expect_failures = [var.github_repository]
}
