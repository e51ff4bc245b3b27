mock_provider "google" {}

variables {
  project_id      = "team-diffusion"
  service_account = "prod-models@team-diffusion.iam.gserviceaccount.com"
  pods            = ["default/stable-diffusion"]
}

run "lets_the_listed_pods_act_and_no_others" {
  command = plan

  assert {
    condition     = { for key, binding in google_service_account_iam_member.pods : key => binding.member } == { "default/stable-diffusion" = "serviceAccount:team-diffusion.svc.id.goog[default/stable-diffusion]" }
    error_message = "The pods of one Kubernetes service account act as the account."
  }
}

run "refuses_a_pod_without_a_namespace" {
  command = plan
  variables { pods = ["stable-diffusion"] }
  expect_failures = [var.pods]
}

run "refuses_an_account_of_another_project" {
  command = plan
  variables { service_account = "prod-models@elsewhere.iam.gserviceaccount.com" }
  expect_failures = [var.service_account]
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}
