# The Google APIs that the other modules call.
resource "google_project_service" "this" {
  for_each = var.services

  project = var.project_id
  service = each.value

  # Another environment or a person may use the same API: destroying this one must not take it away.
  disable_on_destroy = false
}
