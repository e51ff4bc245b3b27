mock_provider "google" {}
mock_provider "helm" {}

variables {
  project_id      = "team-diffusion-test"
  prod_project_id = "team-diffusion-prod"
  branch          = "Feature/faster_VAE"
  region          = "europe-west4"
  zone            = "europe-west4-a"
}

run "composes_the_modules_for_the_branch" {
  assert {
    condition     = can(regex("^t-feature-[0-9a-f]{4}$", output.cluster)) && output.location == "europe-west4-a"
    error_message = "The cluster must be zonal and named after the branch."
  }

  assert {
    condition     = strcontains(output.models_bucket, "team-diffusion-test-${output.cluster}") && endswith(output.registry, "/team-diffusion-test/${output.cluster}")
    error_message = "The branch's bucket and registry must be its own."
  }
}

run "makes_no_account" {
  command = plan

  assert {
    condition     = output.models_service_account == "test-models@${var.project_id}.iam.gserviceaccount.com"
    error_message = "The bootstrap makes the accounts."
  }
}

# The prod environment, from its own directory, beside the branch's environment above.
run "prod" {
  command = plan
  module { source = "../prod" }
  variables {
    project_id = "team-diffusion-prod"
    zones      = ["europe-west4-a"]
  }
}

run "shares_nothing_with_prod" {
  command = plan

  assert {
    condition = alltrue([
      for name in ["cluster", "registry", "models_bucket"] :
      run.composes_the_modules_for_the_branch[name] != run.prod[name] && length(run.prod[name]) > 0
    ])
    error_message = "The branch's cluster, registry and bucket must not be prod's."
  }

  assert {
    condition     = !strcontains(jsonencode(run.composes_the_modules_for_the_branch), "team-diffusion-prod")
    error_message = "No resource of the branch may be in prod's project."
  }

  assert {
    condition     = length(setintersection(values(var.ranges), values(run.prod.ranges))) == 0
    error_message = "The branch's addresses must not be prod's."
  }
}

run "tells_branches_apart_that_begin_alike" {
  command = plan
  variables { branch = "feature/faster_vae-2" }

  assert {
    condition     = output.cluster != run.composes_the_modules_for_the_branch.cluster
    error_message = "Two branches must not share an environment."
  }
}

run "refuses_prods_project" {
  command = plan
  variables { project_id = "team-diffusion-prod" }
  expect_failures = [var.prod_project_id]
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_an_empty_branch" {
  command = plan
  variables { branch = "" }
  expect_failures = [var.branch]
}

run "refuses_a_zone_of_another_region" {
  command = plan
  variables { zone = "us-central1-a" }
  expect_failures = [var.zone]
}

run "refuses_a_zone_for_a_region" {
  command = plan
  variables { region = "europe-west4-a" }
  expect_failures = [var.region]
}

run "refuses_not_to_know_prods_project" {
  command = plan
  variables { prod_project_id = "" }
  expect_failures = [var.prod_project_id]
}
