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
    error_message = "A plan may read the state and no more."
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
