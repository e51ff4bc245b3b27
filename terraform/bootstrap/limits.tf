# Limits of the bill: a budget that warns, and a quota that ends it.
resource "google_billing_budget" "this" {
  count = var.budget == null ? 0 : 1

  billing_account = var.budget.billing_account
  display_name    = var.project_id

  budget_filter {
    projects               = ["projects/${var.project_number}"]
    calendar_period        = "MONTH"
    credit_types_treatment = "INCLUDE_ALL_CREDITS"
  }

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(var.budget.amount)
    }
  }

  # At half and at all of the amount, and as soon as the month will exceed it.
  threshold_rules {
    threshold_percent = 0.5
  }

  threshold_rules {
    threshold_percent = 1
  }

  threshold_rules {
    threshold_percent = 1
    spend_basis       = "FORECASTED_SPEND"
  }

  # Mail goes to these addresses, to the project's owners and to the billing account's administrators.
  all_updates_rule {
    monitoring_notification_channels = [for channel in google_monitoring_notification_channel.budget : channel.id]
    enable_project_level_recipients  = true
  }

  depends_on = [module.services]
}

resource "google_monitoring_notification_channel" "budget" {
  for_each = toset(var.budget == null ? [] : var.budget.emails)

  project      = var.project_id
  display_name = "Budget of ${var.project_id}"
  type         = "email"
  labels       = { email_address = each.value }

  depends_on = [module.services]
}

# A budget stops nothing. No pool, workflow or person gets more GPUs than this in the whole project.
resource "google_cloud_quotas_quota_preference" "gpus" {
  count = var.gpu_quota == null ? 0 : 1

  parent        = "projects/${var.project_id}"
  name          = "gpus-all-regions"
  service       = "compute.googleapis.com"
  quota_id      = "GPUS-ALL-REGIONS-per-project"
  contact_email = var.gpu_quota.contact

  # Google asks before a quota falls by more than a tenth.
  ignore_safety_checks = "QUOTA_DECREASE_PERCENTAGE_TOO_HIGH"

  quota_config {
    preferred_value = tostring(var.gpu_quota.gpus)
  }

  depends_on = [module.services]
}
