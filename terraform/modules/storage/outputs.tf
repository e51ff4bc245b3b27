output "bucket" {
  description = "Name of the bucket: gs://BUCKET/PATH is a model's source."
  value       = google_storage_bucket.models.name
}
