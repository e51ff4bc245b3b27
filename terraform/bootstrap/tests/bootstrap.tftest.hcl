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
    condition     = length(module.ci.roles) == 5 && length(setintersection(setunion(module.ci.roles, module.accounts.roles), ["roles/owner", "roles/editor", "roles/viewer"])) == 0
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

run "limits_nothing_by_default" {
  command = plan

  assert {
    condition     = length(google_billing_budget.this) == 0 && length(google_cloud_quotas_quota_preference.gpus) == 0 && length(google_secret_manager_secret.this) == 0 && length(google_kms_crypto_key_iam_member.agents) == 0
    error_message = "A budget, a quota, a key and secrets must be asked for."
  }
}

run "limits_the_bill_and_knows_a_landing_zone" {
  command = plan
  variables {
    project_number = "123456789012"
    budget         = { billing_account = "012345-6789AB-CDEF01", amount = 500, emails = ["team@example.com"] }
    gpu_quota      = { gpus = 3, contact = "team@example.com" }
    kms_key        = "projects/security/locations/europe-west4/keyRings/team/cryptoKeys/diffusion"
    region         = "europe-west4"
    secrets        = { hugging-face = ["diffusion/secret-sync"] }
  }

  assert {
    condition     = one(google_billing_budget.this[0].amount).specified_amount[0].units == "500" && contains([for rule in google_billing_budget.this[0].threshold_rules : rule.spend_basis], "FORECASTED_SPEND")
    error_message = "The budget must be the given one, and warn before the month exceeds it."
  }

  assert {
    condition     = one(google_cloud_quotas_quota_preference.gpus[0].quota_config).preferred_value == "3"
    error_message = "The quota must be the given one."
  }

  assert {
    condition     = endswith(one(values(google_secret_manager_secret_iam_member.readers)).member, "/team-diffusion-prod.svc.id.goog/subject/ns/diffusion/sa/secret-sync")
    error_message = "One Kubernetes service account, and no other, must read the secret."
  }
}

run "refuses_a_budget_without_the_projects_number" {
  command = plan
  variables { budget = { billing_account = "012345-6789AB-CDEF01", amount = 500 } }
  expect_failures = [var.project_number]
}

run "refuses_a_budget_of_nothing" {
  command = plan
  variables {
    project_number = "123456789012"
    budget         = { billing_account = "012345-6789AB-CDEF01", amount = 0 }
  }
  expect_failures = [var.budget]
}

run "refuses_half_a_gpu" {
  command = plan
  variables { gpu_quota = { gpus = 0.5, contact = "team@example.com" } }
  expect_failures = [var.gpu_quota]
}

run "refuses_a_key_by_its_short_name" {
  command = plan
  variables {
    project_number = "123456789012"
    kms_key        = "diffusion"
  }
  expect_failures = [var.kms_key]
}

run "refuses_a_reader_without_its_namespace" {
  command = plan
  variables {
    project_number = "123456789012"
    region         = "europe-west4"
    secrets        = { hugging-face = ["secret-sync"] }
  }
  expect_failures = [var.secrets]
}

run "refuses_secrets_without_a_region" {
  command = plan
  variables {
    project_number = "123456789012"
    secrets        = { hugging-face = ["diffusion/secret-sync"] }
  }
  expect_failures = [var.region]
}
