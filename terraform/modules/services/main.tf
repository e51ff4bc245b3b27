# The Google APIs that the other modules call.
resource "google_project_service" "this" {
  for_each = var.services

  project = var.project_id
  service = each.value

  # Another environment or a person may use the same API, so destroying this environment must leave it on.
  disable_on_destroy = false
}
