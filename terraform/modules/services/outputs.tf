output "enabled" {
  description = "The APIs, once they answer; depend on it to wait for them."
  value       = toset([for service in google_project_service.this : service.service])
}
