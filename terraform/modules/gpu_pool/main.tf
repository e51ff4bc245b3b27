# Nodes with one kind of GPU; the pool has no node while no pod requests a GPU.
locals {
  accelerator  = local.accelerators[var.accelerator]
  machine_type = coalesce(var.machine_type, local.accelerator.machine_types[var.gpus_per_node])
}

resource "google_container_node_pool" "this" {
  #checkov:skip=CKV_GCP_9:Repair is on for every pool but one of flex-start, whose nodes GKE does not repair; the module's own tests hold both.
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

  # GKE doesn't repair a node of flex-start: the node ends by itself, and the next one is new.
  management {
    auto_repair  = !var.flex_start
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
    machine_type      = local.machine_type
    spot              = var.spot
    flex_start        = var.flex_start
    max_run_duration  = var.flex_start ? "604800s" : null
    disk_type         = "pd-balanced"
    disk_size_gb      = var.disk_gb
    boot_disk_kms_key = var.kms_key
    image_type        = "COS_CONTAINERD"
    service_account   = var.node_service_account
    oauth_scopes      = ["https://www.googleapis.com/auth/cloud-platform"]
    resource_labels   = var.labels

    # The autoscaler counts nodes with this label and this taint as the class's own.
    labels = var.compute_class == null ? {} : { "cloud.google.com/compute-class" = var.compute_class }

    dynamic "reservation_affinity" {
      for_each = var.reservation == null ? [] : [var.reservation]
      content {
        consume_reservation_type = "SPECIFIC_RESERVATION"
        key                      = "compute.googleapis.com/reservation-name"
        values                   = [reservation_affinity.value]
      }
    }

    # Flex-start has capacity of its own, and GKE asks for this to be said.
    dynamic "reservation_affinity" {
      for_each = var.flex_start ? ["none"] : []
      content {
        consume_reservation_type = "NO_RESERVATION"
      }
    }

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

    dynamic "taint" {
      for_each = var.compute_class == null ? [] : [var.compute_class]
      content {
        key    = "cloud.google.com/compute-class"
        value  = taint.value
        effect = "NO_SCHEDULE"
      }
    }

    # Images stream from Artifact Registry, so that a new node serves before all 6 GB have arrived. A disk of images needs
    # the same agent.
    gcfs_config {
      enabled = true
    }

    # Each node begins with a copy of these disks: images or weights that it neither pulls nor downloads.
    dynamic "secondary_boot_disks" {
      for_each = var.boot_disks
      content {
        disk_image = secondary_boot_disks.value.image
        mode       = secondary_boot_disks.value.holds == "images" ? "CONTAINER_IMAGE_CACHE" : null
      }
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
