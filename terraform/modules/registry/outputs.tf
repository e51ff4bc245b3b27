output "url" {
  description = "Prefix of an image's name, such as europe-west4-docker.pkg.dev/team/diffusion."
  value       = "${google_artifact_registry_repository.this.location}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.this.repository_id}"
}
