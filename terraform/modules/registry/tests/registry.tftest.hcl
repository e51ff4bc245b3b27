mock_provider "google" {}

variables {
  project_id = "team-diffusion"
  name       = "prod"
  region     = "europe-west4"
  readers    = { nodes = "serviceAccount:prod-nodes@team-diffusion.iam.gserviceaccount.com" }
}

run "lets_nodes_pull_and_nobody_else" {
  command = plan

  assert {
    condition     = { for key, binding in google_artifact_registry_repository_iam_member.this : key => binding.role } == { "reader-nodes" = "roles/artifactregistry.reader" }
    error_message = "The nodes must be able to pull, and nobody else."
  }

  assert {
    condition     = output.url == "europe-west4-docker.pkg.dev/team-diffusion/prod"
    error_message = "The output must be what stands before an image's name."
  }
}

run "cleans_up_and_keeps_what_a_rollback_needs" {
  command = plan

  assert {
    condition     = google_artifact_registry_repository.this.cleanup_policy_dry_run == false && toset([for policy in google_artifact_registry_repository.this.cleanup_policies : policy.action]) == toset(["KEEP", "DELETE"])
    error_message = "Old images must really go, and the newest stay."
  }

  assert {
    condition     = one(google_artifact_registry_repository.this.docker_config).immutable_tags
    error_message = "A tag must keep its meaning."
  }
}

run "refuses_the_whole_world" {
  command = plan
  variables { readers = { everyone = "allUsers" } }
  expect_failures = [var.readers]
}

run "refuses_a_registry_without_a_version_to_roll_back_to" {
  command = plan
  variables { keep_versions = 1 }
  expect_failures = [var.keep_versions]
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

run "refuses_a_zone_for_a_region" {
  command = plan
  variables { region = "europe-west4-a" }
  expect_failures = [var.region]
}

run "refuses_the_whole_worlds_images" {
  command = plan
  variables { writers = { everyone = "allAuthenticatedUsers" } }
  expect_failures = [var.writers]
}

run "refuses_to_delete_at_once" {
  command = plan
  variables { delete_after_days = 0 }
  expect_failures = [var.delete_after_days]
}

run "refuses_a_label_with_capitals" {
  command = plan
  variables { labels = { Team = "design" } }
  expect_failures = [var.labels]
}
