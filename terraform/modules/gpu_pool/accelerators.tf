# Google's offers for the names of the operator's accelerator catalogue: GKE's name of the GPU, a machine type
# for each number of GPUs per node, and the zones that list it. The source is SkyPilot's public catalogue of
# Google's machine types of 2026-11-23. If `gcloud compute accelerator-types list` shows another zone, add it
# here.
locals {
  accelerators = {
    nvidia-l4 = {
      gke_name      = "nvidia-l4"
      machine_types = { 1 = "g2-standard-4", 2 = "g2-standard-24", 4 = "g2-standard-48", 8 = "g2-standard-96" }
      spot_only     = false
      zones = [
        "asia-east1-a", "asia-east1-b", "asia-east1-c",
        "asia-northeast1-a", "asia-northeast1-b", "asia-northeast1-c",
        "asia-northeast3-a", "asia-northeast3-b",
        "asia-south1-a", "asia-south1-b", "asia-south1-c",
        "asia-southeast1-a", "asia-southeast1-b", "asia-southeast1-c",
        "europe-west1-b", "europe-west1-c",
        "europe-west2-a", "europe-west2-b",
        "europe-west3-a", "europe-west3-b",
        "europe-west4-a", "europe-west4-b", "europe-west4-c",
        "europe-west6-b", "europe-west6-c",
        "me-central2-a", "me-central2-c",
        "northamerica-northeast1-b",
        "northamerica-northeast2-a", "northamerica-northeast2-b",
        "us-central1-a", "us-central1-b", "us-central1-c",
        "us-east1-b", "us-east1-c", "us-east1-d",
        "us-east4-a", "us-east4-c",
        "us-west1-a", "us-west1-b", "us-west1-c",
        "us-west4-a", "us-west4-c",
      ]
    }
    nvidia-a100-80gb = {
      gke_name      = "nvidia-a100-80gb"
      machine_types = { 1 = "a2-ultragpu-1g", 2 = "a2-ultragpu-2g", 4 = "a2-ultragpu-4g", 8 = "a2-ultragpu-8g" }
      spot_only     = false
      zones = [
        "asia-southeast1-c",
        "europe-west4-a",
        "us-central1-a", "us-central1-c",
        "us-east4-c",
        "us-east5-a", "us-east5-b",
      ]
    }
    nvidia-h100-80gb = {
      gke_name      = "nvidia-h100-80gb"
      machine_types = { 1 = "a3-highgpu-1g", 2 = "a3-highgpu-2g", 4 = "a3-highgpu-4g" }
      # Google offers these machine types as Spot capacity, or for a limited time, but not on demand.
      spot_only = true
      zones = [
        "asia-east1-c",
        "asia-northeast1-b",
        "asia-south1-c",
        "asia-southeast1-b", "asia-southeast1-c",
        "australia-southeast1-c",
        "europe-north1-c",
        "europe-west1-b", "europe-west1-c",
        "europe-west3-c",
        "europe-west4-b", "europe-west4-c",
        "europe-west8-c",
        "us-central1-a", "us-central1-b", "us-central1-c",
        "us-east4-a", "us-east4-b", "us-east4-c",
        "us-east5-a",
        "us-west1-a", "us-west1-b",
        "us-west4-a",
      ]
    }
  }
}
