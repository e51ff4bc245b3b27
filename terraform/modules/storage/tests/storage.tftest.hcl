mock_provider "google" {}

variables {
  project_id = "team-diffusion"
  name       = "prod"
  region     = "europe-west4"
  readers    = { models = "serviceAccount:prod-models@team-diffusion.iam.gserviceaccount.com" }
}

run "is_closed_to_the_world" {
  command = plan

  assert {
    condition     = google_storage_bucket.models.public_access_prevention == "enforced" && google_storage_bucket.models.uniform_bucket_level_access
    error_message = "The bucket must refuse public access."
  }

  assert {
    condition     = { for key, binding in google_storage_bucket_iam_member.this : key => binding.role } == { "reader-models" = "roles/storage.objectViewer" }
    error_message = "Readers must only read."
  }
}

run "keeps_models_from_accidents" {
  command = plan

  assert {
    condition     = one(google_storage_bucket.models.versioning).enabled && google_storage_bucket.models.force_destroy == false
    error_message = "An overwritten model must be recoverable, and a full bucket must not be destroyed."
  }
}

run "refuses_the_whole_world" {
  command = plan
  variables { writers = { everyone = "allAuthenticatedUsers" } }
  expect_failures = [var.writers]
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

run "refuses_to_show_models_to_the_whole_world" {
  command = plan
  variables { readers = { everyone = "allUsers" } }
  expect_failures = [var.readers]
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
