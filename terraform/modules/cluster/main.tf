# A private GKE cluster with a small pool for all pods that need no GPU.
resource "google_container_cluster" "this" {
  #checkov:skip=CKV_GCP_12:Dataplane V2 enforces NetworkPolicy by itself; the block that this check requires is for the agent that it replaced.
  #checkov:skip=CKV_GCP_20:The control plane has no address that networks could be authorised for; IAM decides about access by its name.
  #checkov:skip=CKV_GCP_66:Binary Authorization would need an attestor and a policy of the project; CI verifies each image's provenance before it copies the image to the registry.
  #checkov:skip=CKV_GCP_65:Groups in RBAC need a Google Workspace domain, which a project may not have; access here is by IAM alone.
  project  = var.project_id
  name     = var.name
  location = var.location

  network         = var.network
  subnetwork      = var.subnetwork
  networking_mode = "VPC_NATIVE"

  # The pool below replaces the default one, which can't be changed without replacing the cluster.
  remove_default_node_pool = true
  initial_node_count       = 1
  deletion_protection      = var.deletion_protection
  resource_labels          = var.labels

  # Dataplane V2: NetworkPolicy is enforced without a further agent.
  datapath_provider           = "ADVANCED_DATAPATH"
  enable_shielded_nodes       = true
  enable_intranode_visibility = true

  release_channel {
    channel = var.release_channel
  }

  ip_allocation_policy {
    cluster_secondary_range_name  = var.pods_range
    services_secondary_range_name = var.services_range
  }

  private_cluster_config {
    enable_private_nodes = true
  }

  # The API server has only a name, which Google's front end guards with IAM, and no address of its own.
  # So CI reaches it without a bastion, and a port scan doesn't find it.
  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
    ip_endpoints_config {
      enabled = false
    }
  }

  workload_identity_config {
    workload_pool = "${var.project_id}.svc.id.goog"
  }

  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  addons_config {
    gcs_fuse_csi_driver_config {
      enabled = true
    }
    gce_persistent_disk_csi_driver_config {
      enabled = true
    }
    gke_backup_agent_config {
      enabled = var.backup != null
    }
  }

  # Secrets of Secret Manager become Kubernetes Secrets, which a DiffusionService names.
  secret_sync_config {
    enabled = var.secret_sync
    dynamic "rotation_config" {
      for_each = var.secret_sync ? ["300s"] : []
      content {
        enabled           = true
        rotation_interval = rotation_config.value
      }
    }
  }

  # Kubernetes Secrets are encrypted in etcd; their disks are encrypted in any case.
  dynamic "database_encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      state    = "ENCRYPTED"
      key_name = database_encryption.value
    }
  }

  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }

  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }

  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS", "DEPLOYMENT", "POD", "DCGM"]
    managed_prometheus {
      enabled = true
    }
  }

  binary_authorization {
    evaluation_mode = "DISABLED"
  }

  # Google shut the scan of running workloads down; the registry scans the images.
  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }

  cost_management_config {
    enabled = true
  }

  maintenance_policy {
    recurring_window {
      start_time = "2026-01-03T02:00:00Z"
      end_time   = "2026-01-03T08:00:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=SA,SU"
    }
    dynamic "maintenance_exclusion" {
      for_each = var.maintenance_exclusions
      content {
        exclusion_name = maintenance_exclusion.key
        start_time     = maintenance_exclusion.value.from
        end_time       = maintenance_exclusion.value.to
        exclusion_options {
          scope = maintenance_exclusion.value.scope
        }
      }
    }
  }

  # These settings are for the default pool, which is deleted at once. Without them that pool would start
  # with the project's default account, which has almost every permission.
  node_config {
    boot_disk_kms_key = var.kms_key
    service_account   = var.node_service_account
    oauth_scopes      = ["https://www.googleapis.com/auth/cloud-platform"]
    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
    workload_metadata_config {
      mode = "GKE_METADATA"
    }
  }

  lifecycle {
    ignore_changes = [node_config, initial_node_count]
  }
}

# The pool of the operator, the load tests' runners, Argo CD and other pods without a GPU.
resource "google_container_node_pool" "system" {
  project        = var.project_id
  name           = "system"
  cluster        = google_container_cluster.this.name
  location       = var.location
  node_locations = var.zones

  autoscaling {
    total_min_node_count = var.system_pool.min_nodes
    total_max_node_count = var.system_pool.max_nodes
    location_policy      = "BALANCED"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  network_config {
    enable_private_nodes = true
  }

  node_config {
    machine_type      = var.system_pool.machine_type
    disk_type         = "pd-balanced"
    disk_size_gb      = var.system_pool.disk_gb
    boot_disk_kms_key = var.kms_key
    image_type        = "COS_CONTAINERD"
    service_account   = var.node_service_account
    oauth_scopes      = ["https://www.googleapis.com/auth/cloud-platform"]
    resource_labels   = var.labels

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

# A daily copy of all objects and their Secrets. The volumes stay out: they are caches, which fill again.
resource "google_gke_backup_backup_plan" "this" {
  count = var.backup == null ? 0 : 1

  project  = var.project_id
  name     = var.name
  location = join("-", slice(split("-", var.location), 0, 2))
  cluster  = google_container_cluster.this.id
  labels   = var.labels

  backup_config {
    all_namespaces      = true
    include_secrets     = true
    include_volume_data = false
    dynamic "encryption_key" {
      for_each = var.kms_key == null ? [] : [var.kms_key]
      content {
        gcp_kms_encryption_key = encryption_key.value
      }
    }
  }

  backup_schedule {
    cron_schedule = var.backup.schedule
  }

  retention_policy {
    backup_retain_days = var.backup.retain_days
  }
}
