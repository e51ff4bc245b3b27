mock_provider "google" {}

variables {
  project_id   = "team-diffusion-prod"
  environment  = "prod"
  state_bucket = "team-diffusion-prod-terraform"
  github       = { repository_id = "456789", owner_id = "123456" }
}

run "lets_only_the_environments_jobs_deploy" {
  assert {
    condition     = output.workload_identity_provider != null && output.deploy_service_account != output.plan_service_account
    error_message = "Planning and deploying must be different accounts."
  }

  assert {
    condition     = one(google_storage_bucket_iam_member.plan_reads_state).role == "roles/storage.objectViewer"
    error_message = "A plan may only read the state."
  }
}

run "makes_accounts_and_no_key" {
  command = plan

  # The check covers all directories: without such a resource in any file, no key can be created.
  assert {
    condition     = length(module.ci.emails) == 2 && alltrue([for name in fileset("..", "**/*.tf") : !strcontains(file("../${name}"), "google_service_account_key")])
    error_message = "No key of a service account may be created: workloads exchange tokens instead."
  }
}

run "gives_no_primitive_role" {
  command = plan

  assert {
    condition     = length(module.ci.roles) == 4 && length(setintersection(setunion(module.ci.roles, module.accounts.roles), ["roles/owner", "roles/editor", "roles/viewer"])) == 0
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

run "refuses_a_repository_by_its_name" {
  command = plan
  variables { github = { repository_id = "team/diffusion", owner_id = "team" } }
  expect_failures = [var.github]
}

run "plans_nothing_in_a_test_project" {
  command = plan
  variables { environment = "test" }

  assert {
    condition     = output.plan_service_account == null && length(google_storage_bucket_iam_member.plan_reads_state) == 0
    error_message = "A pull request plans prod only."
  }
}
