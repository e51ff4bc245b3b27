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
    error_message = "Only the nodes may pull, and they must be able to."
  }

  assert {
    condition     = output.url == "europe-west4-docker.pkg.dev/team-diffusion/prod"
    error_message = "The output must be the prefix of an image's name."
  }
}

run "cleans_up_and_keeps_what_a_rollback_needs" {
  command = plan

  assert {
    condition     = google_artifact_registry_repository.this.cleanup_policy_dry_run == false && toset([for policy in google_artifact_registry_repository.this.cleanup_policies : policy.action]) == toset(["KEEP", "DELETE"])
    error_message = "Old images must be deleted, and the newest kept."
  }

  assert {
    condition     = one(google_artifact_registry_repository.this.docker_config).immutable_tags
    error_message = "A tag must always refer to the same image."
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

run "refuses_a_key_by_its_short_name" {
  command = plan
  variables { kms_key = "diffusion" }
  expect_failures = [var.kms_key]
}
