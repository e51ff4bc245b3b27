mock_provider "google" {}

variables {
  project_id = "team-diffusion"
}

run "switches_on_what_the_modules_need" {
  assert {
    condition = alltrue([
      for api in ["compute", "container", "artifactregistry", "iam", "iamcredentials", "sts", "storage"] :
      contains(keys(google_project_service.this), "${api}.googleapis.com")
    ])
    error_message = "An API that another module calls is not switched on."
  }

  assert {
    condition     = alltrue([for service in google_project_service.this : service.disable_on_destroy == false])
    error_message = "Destroying one environment must leave the project's APIs on."
  }
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_a_project_number_for_its_id" {
  command = plan
  variables { project_id = "123456789012" }
  expect_failures = [var.project_id]
}

run "refuses_what_is_no_api" {
  command = plan
  variables { services = ["container"] }
  expect_failures = [var.services]
}
