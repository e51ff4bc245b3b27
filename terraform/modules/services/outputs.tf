output "enabled" {
  description = "The APIs, once they are available; a module that depends on this output waits for them."
  value       = toset([for service in google_project_service.this : service.service])
}
