# Nodes with one kind of GPU, none of them while nothing asks for one.
locals {
  accelerator  = local.accelerators[var.accelerator]
  machine_type = coalesce(var.machine_type, local.accelerator.machine_types[var.gpus_per_node])
}

resource "google_container_node_pool" "this" {
  project        = var.project_id
  name           = var.name
  cluster        = var.cluster
  location       = var.location
  node_locations = var.zones

  # The whole pool's numbers, wherever the zones have GPUs left.
  autoscaling {
    total_min_node_count = var.min_nodes
    total_max_node_count = var.max_nodes
    location_policy      = "ANY"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  # A spare GPU is rare: a node is drained and replaced rather than added first.
  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = 0
    max_unavailable = 1
  }

  network_config {
    enable_private_nodes = true
  }

  node_config {
    machine_type    = local.machine_type
    spot            = var.spot
    disk_type       = "pd-balanced"
    disk_size_gb    = var.disk_gb
    image_type      = "COS_CONTAINERD"
    service_account = var.node_service_account
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    resource_labels = var.labels

    # GKE labels the nodes cloud.google.com/gke-accelerator with this type, which is what the
    # operator's catalogue selects them by.
    guest_accelerator {
      type  = local.accelerator.gke_name
      count = var.gpus_per_node
      gpu_driver_installation_config {
        gpu_driver_version = var.driver
      }
    }

    # Keeps everything off that does not ask for a GPU.
    taint {
      key    = "nvidia.com/gpu"
      value  = "present"
      effect = "NO_SCHEDULE"
    }

    # Images stream from Artifact Registry, so that a new node serves before all 6 GB have come.
    gcfs_config {
      enabled = true
    }

    metadata = {
      disable-legacy-endpoints = "true"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }
}
