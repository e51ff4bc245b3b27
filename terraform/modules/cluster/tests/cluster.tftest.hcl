mock_provider "google" {}

variables {
  project_id           = "team-diffusion"
  name                 = "prod"
  location             = "europe-west4"
  zones                = ["europe-west4-a", "europe-west4-b"]
  network              = "projects/team-diffusion/global/networks/prod"
  subnetwork           = "projects/team-diffusion/regions/europe-west4/subnetworks/prod-nodes"
  pods_range           = "pods"
  services_range       = "services"
  node_service_account = "prod-nodes@team-diffusion.iam.gserviceaccount.com"
}

run "has_no_public_node_and_no_public_control_plane" {
  command = plan

  assert {
    condition     = one(google_container_cluster.this.private_cluster_config).enable_private_nodes
    error_message = "The cluster's nodes must be private."
  }

  assert {
    condition     = one(google_container_node_pool.system.network_config).enable_private_nodes
    error_message = "The system pool's nodes must be private."
  }

  assert {
    condition     = one(one(google_container_cluster.this.control_plane_endpoints_config).ip_endpoints_config).enabled == false
    error_message = "The control plane must have no address of its own."
  }
}

run "knows_pods_by_workload_identity" {
  command = plan

  assert {
    condition     = one(google_container_cluster.this.workload_identity_config).workload_pool == "team-diffusion.svc.id.goog"
    error_message = "IAM must know pods through the project's pool."
  }

  assert {
    condition     = one(one(google_container_node_pool.system.node_config).workload_metadata_config).mode == "GKE_METADATA"
    error_message = "Pods must not reach the node's own token."
  }

  assert {
    condition     = one(google_container_node_pool.system.node_config).service_account == var.node_service_account
    error_message = "Nodes must run as the given account."
  }

  assert {
    condition     = one(one(google_container_cluster.this.master_auth).client_certificate_config).issue_client_certificate == false
    error_message = "No client certificate may be issued."
  }
}

run "is_observed_shielded_and_upgraded" {
  command = plan

  assert {
    condition     = google_container_cluster.this.datapath_provider == "ADVANCED_DATAPATH"
    error_message = "Dataplane V2 must enforce NetworkPolicy."
  }

  assert {
    condition     = one(one(google_container_cluster.this.monitoring_config).managed_prometheus).enabled
    error_message = "Managed Prometheus must collect metrics."
  }

  assert {
    condition     = contains(one(google_container_cluster.this.logging_config).enable_components, "WORKLOADS")
    error_message = "Pods' logs must be collected."
  }

  assert {
    condition     = google_container_cluster.this.enable_shielded_nodes && one(one(google_container_node_pool.system.node_config).shielded_instance_config).enable_secure_boot
    error_message = "Nodes must be shielded."
  }

  assert {
    condition     = one(google_container_cluster.this.release_channel).channel == "REGULAR" && one(google_container_node_pool.system.management).auto_upgrade
    error_message = "The cluster must follow a release channel."
  }

  assert {
    condition     = one(one(google_container_cluster.this.addons_config).gcs_fuse_csi_driver_config).enabled
    error_message = "Pods must be able to mount the models' bucket."
  }

  assert {
    condition     = google_container_cluster.this.deletion_protection
    error_message = "A cluster must be protected by default."
  }
}

run "refuses_zones_elsewhere" {
  command = plan
  variables { zones = ["us-central1-a"] }
  expect_failures = [var.zones]
}

run "refuses_no_zone" {
  command = plan
  variables { zones = [] }
  expect_failures = [var.zones]
}

run "refuses_the_default_account" {
  command = plan
  variables { node_service_account = "123456789012-compute@developer.gserviceaccount.com" }
  expect_failures = [var.node_service_account]
}

run "refuses_an_unknown_channel" {
  command = plan
  variables { release_channel = "NIGHTLY" }
  expect_failures = [var.release_channel]
}

run "refuses_a_system_pool_that_shrinks_away" {
  command = plan
  variables { system_pool = { min_nodes = 0 } }
  expect_failures = [var.system_pool]
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_a_name_with_capitals" {
  command = plan
  variables { name = "Prod" }
  expect_failures = [var.name]
}

run "refuses_a_continent" {
  command = plan
  variables { location = "europe" }
  expect_failures = [var.location]
}

run "refuses_no_network" {
  command = plan
  variables { network = "" }
  expect_failures = [var.network]
}

run "refuses_no_subnetwork" {
  command = plan
  variables { subnetwork = "" }
  expect_failures = [var.subnetwork]
}

run "refuses_a_range_for_its_name" {
  command = plan
  variables { pods_range = "10.20.0.0/16" }
  expect_failures = [var.pods_range]
}

run "refuses_a_range_for_the_name_of_services" {
  command = plan
  variables { services_range = "10.30.0.0/20" }
  expect_failures = [var.services_range]
}

run "refuses_a_label_with_capitals" {
  command = plan
  variables { labels = { Team = "Design" } }
  expect_failures = [var.labels]
}

run "refuses_a_key_by_its_short_name" {
  command = plan
  variables { kms_key = "diffusion" }
  expect_failures = [var.kms_key]
}

run "refuses_a_month_and_more_without_any_upgrade" {
  command = plan
  variables { maintenance_exclusions = { sale = { from = "2026-11-01T00:00:00Z", to = "2027-01-01T00:00:00Z" } } }
  expect_failures = [var.maintenance_exclusions]
}

run "refuses_a_backup_that_nobody_keeps" {
  command = plan
  variables { backup = { retain_days = 0 } }
  expect_failures = [var.backup]
}

run "leaves_out_backup_and_secrets_by_default" {
  command = plan

  assert {
    condition     = length(google_gke_backup_backup_plan.this) == 0 && !one(google_container_cluster.this.secret_sync_config).enabled
    error_message = "A landing zone's parts must be asked for."
  }
}

run "takes_a_landing_zones_inputs" {
  command = plan
  variables {
    kms_key                = "projects/security/locations/europe-west4/keyRings/team/cryptoKeys/diffusion"
    secret_sync            = true
    backup                 = {}
    maintenance_exclusions = { sale = { from = "2026-11-20T00:00:00Z", to = "2026-12-02T00:00:00Z" } }
  }

  assert {
    condition     = one(google_container_cluster.this.database_encryption).key_name == var.kms_key && one(google_container_node_pool.system.node_config).boot_disk_kms_key == var.kms_key && one(one(google_gke_backup_backup_plan.this[0].backup_config).encryption_key).gcp_kms_encryption_key == var.kms_key
    error_message = "The key must encrypt Secrets, disks and backups."
  }

  assert {
    condition     = one(one(google_container_cluster.this.maintenance_policy).maintenance_exclusion).exclusion_name == "sale" && google_gke_backup_backup_plan.this[0].location == "europe-west4" && one(one(google_container_cluster.this.addons_config).gke_backup_agent_config).enabled
    error_message = "The exclusion and the backup must be the given ones, in the cluster's region."
  }
}
