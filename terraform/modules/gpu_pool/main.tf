# Nodes with one kind of GPU; the pool has no node while no pod requests a GPU.
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

  # The numbers are for the whole pool, in whichever zones have GPUs available.
  autoscaling {
    total_min_node_count = var.min_nodes
    total_max_node_count = var.max_nodes
    location_policy      = "ANY"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  # A free GPU is rare, so an upgrade drains and replaces a node instead of first adding one.
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

    # GKE sets the nodes' label cloud.google.com/gke-accelerator to this type, by which the operator's
    # catalogue selects them.
    guest_accelerator {
      type  = local.accelerator.gke_name
      count = var.gpus_per_node
      gpu_driver_installation_config {
        gpu_driver_version = var.driver
      }
    }

    # The taint keeps off every pod that does not request a GPU.
    taint {
      key    = "nvidia.com/gpu"
      value  = "present"
      effect = "NO_SCHEDULE"
    }

    # Images stream from Artifact Registry, so that a new node serves before all 6 GB have arrived.
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
