mock_provider "google" {}

variables {
  project_id           = "team-diffusion"
  name                 = "gpu"
  cluster              = "prod"
  location             = "europe-west4"
  zones                = ["europe-west4-a", "europe-west4-b"]
  node_service_account = "prod-nodes@team-diffusion.iam.gserviceaccount.com"
}

run "is_the_studys_three_l4_from_none" {
  command = plan

  assert {
    condition     = one(google_container_node_pool.this.node_config).machine_type == "g2-standard-4"
    error_message = "One L4 comes with a g2-standard-4."
  }

  assert {
    condition     = one(google_container_node_pool.this.autoscaling).total_min_node_count == 0 && one(google_container_node_pool.this.autoscaling).total_max_node_count == 3
    error_message = "The pool must scale from none to three nodes in all zones together."
  }

  assert {
    condition     = one(one(one(google_container_node_pool.this.node_config).guest_accelerator).gpu_driver_installation_config).gpu_driver_version == "LATEST"
    error_message = "GKE must install the driver."
  }
}

run "is_what_the_operators_catalogue_selects" {
  command = plan

  assert {
    condition     = contains([for labels in yamldecode(file("../../../deploy/chart/values.yaml")).accelerators[var.accelerator].nodeLabels : jsonencode(labels)], jsonencode(output.node_labels))
    error_message = "The chart's accelerator does not select the nodes' labels."
  }

  assert {
    condition = alltrue([
      for taint in output.node_taints : anytrue([
        for toleration in yamldecode(file("../../../deploy/chart/values.yaml")).accelerators[var.accelerator].tolerations :
        toleration.key == taint.key && toleration.effect == taint.effect && (toleration.operator == "Exists" || try(toleration.value, "") == taint.value)
      ])
    ]) && length(output.node_taints) == 1
    error_message = "The chart's accelerator does not tolerate the nodes' taint."
  }
}

run "so_are_a100_nodes" {
  command = plan
  variables {
    accelerator = "nvidia-a100-80gb"
    zones       = ["europe-west4-a"]
  }

  assert {
    condition     = contains([for labels in yamldecode(file("../../../deploy/chart/values.yaml")).accelerators["nvidia-a100-80gb"].nodeLabels : jsonencode(labels)], jsonencode(output.node_labels)) && one(google_container_node_pool.this.node_config).machine_type == "a2-ultragpu-1g"
    error_message = "The chart's accelerator does not select A100 nodes."
  }
}

run "so_are_h100_nodes" {
  command = plan
  variables {
    accelerator   = "nvidia-h100-80gb"
    gpus_per_node = 2
    spot          = true
    zones         = ["europe-west4-b"]
  }

  assert {
    condition     = contains([for labels in yamldecode(file("../../../deploy/chart/values.yaml")).accelerators["nvidia-h100-80gb"].nodeLabels : jsonencode(labels)], jsonencode(output.node_labels)) && one(google_container_node_pool.this.node_config).machine_type == "a3-highgpu-2g"
    error_message = "The chart's accelerator does not select H100 nodes."
  }
}

run "keeps_the_nodes_private_and_shielded" {
  command = plan

  assert {
    condition     = one(google_container_node_pool.this.network_config).enable_private_nodes
    error_message = "GPU nodes must be private."
  }

  assert {
    condition     = one(one(google_container_node_pool.this.node_config).shielded_instance_config).enable_secure_boot && one(one(google_container_node_pool.this.node_config).workload_metadata_config).mode == "GKE_METADATA"
    error_message = "GPU nodes must be shielded and must not show their own token to pods."
  }

  assert {
    condition     = one(google_container_node_pool.this.upgrade_settings).max_surge == 0 && one(google_container_node_pool.this.upgrade_settings).max_unavailable == 1
    error_message = "An upgrade must not need a spare GPU."
  }

  assert {
    condition     = one(google_container_node_pool.this.management).auto_repair
    error_message = "GKE must repair nodes that do not end by themselves."
  }
}

run "takes_a_larger_machine_of_the_family" {
  command = plan
  variables { machine_type = "g2-standard-8" }

  assert {
    condition     = one(google_container_node_pool.this.node_config).machine_type == "g2-standard-8"
    error_message = "The given machine type must replace the usual one."
  }
}

run "refuses_a_zone_that_does_not_list_the_accelerator" {
  command = plan
  variables {
    location = "europe-north1"
    zones    = ["europe-north1-a"]
  }
  expect_failures = [var.zones]
}

run "refuses_one_such_zone_among_others" {
  command = plan
  variables {
    accelerator = "nvidia-a100-80gb"
    zones       = ["europe-west4-a", "europe-west4-b"]
  }
  expect_failures = [var.zones]
}

run "refuses_an_unknown_accelerator" {
  command = plan
  variables { accelerator = "nvidia-l5" }
  expect_failures = [var.accelerator]
}

run "refuses_a_machine_of_another_family" {
  command = plan
  variables { machine_type = "n1-standard-8" }
  expect_failures = [var.machine_type]
}

run "refuses_a_number_of_gpus_that_no_machine_has" {
  command = plan
  variables { gpus_per_node = 3 }
  expect_failures = [var.gpus_per_node]
}

run "refuses_fewer_at_most_than_at_least" {
  command = plan
  variables {
    min_nodes = 4
    max_nodes = 3
  }
  expect_failures = [var.max_nodes]
}

run "refuses_a_disk_too_small_for_the_image" {
  command = plan
  variables { disk_gb = 20 }
  expect_failures = [var.disk_gb]
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_a_name_with_capitals" {
  command = plan
  variables { name = "L4" }
  expect_failures = [var.name]
}

run "refuses_no_cluster" {
  command = plan
  variables { cluster = "" }
  expect_failures = [var.cluster]
}

run "refuses_a_continent" {
  command = plan
  variables { location = "europe" }
  expect_failures = [var.location]
}

run "refuses_half_a_node" {
  command = plan
  variables { min_nodes = 0.5 }
  expect_failures = [var.min_nodes]
}

run "refuses_an_unknown_driver" {
  command = plan
  variables { driver = "550.90" }
  expect_failures = [var.driver]
}

run "refuses_the_default_account" {
  command = plan
  variables { node_service_account = "123456789012-compute@developer.gserviceaccount.com" }
  expect_failures = [var.node_service_account]
}

run "refuses_a_label_with_capitals" {
  command = plan
  variables { labels = { team = "Design" } }
  expect_failures = [var.labels]
}

run "refuses_on_demand_what_exists_as_spot_only" {
  command = plan
  variables {
    accelerator = "nvidia-h100-80gb"
    zones       = ["europe-west4-b"]
  }
  expect_failures = [var.spot]
}

run "takes_a_reservation_flex_start_and_disks" {
  command = plan
  variables {
    accelerator = "nvidia-h100-80gb"
    zones       = ["europe-west4-b"]
    reservation = "diffusion"
    boot_disks  = [{ image = "projects/team-diffusion/global/images/serving" }, { image = "projects/team-diffusion/global/images/weights", holds = "data" }]
  }

  assert {
    condition     = one(one(google_container_node_pool.this.node_config).reservation_affinity).consume_reservation_type == "SPECIFIC_RESERVATION" && one(one(google_container_node_pool.this.node_config).reservation_affinity).values == toset(["diffusion"])
    error_message = "The nodes must use the named reservation and no other."
  }

  assert {
    condition     = jsonencode([for disk in one(google_container_node_pool.this.node_config).secondary_boot_disks : disk.mode]) == jsonencode(["CONTAINER_IMAGE_CACHE", null])
    error_message = "A disk of images must be a cache of images, a disk of data must not."
  }
}

run "waits_for_capacity" {
  command = plan
  variables { flex_start = true }

  assert {
    condition     = one(google_container_node_pool.this.node_config).max_run_duration == "604800s" && one(one(google_container_node_pool.this.node_config).reservation_affinity).consume_reservation_type == "NO_RESERVATION" && !one(google_container_node_pool.this.management).auto_repair
    error_message = "A node of flex-start lives for at most seven days, and GKE does not repair it."
  }
}

run "belongs_to_a_class" {
  command = plan
  variables { compute_class = "gpu" }

  assert {
    condition     = one(google_container_node_pool.this.node_config).labels["cloud.google.com/compute-class"] == "gpu" && contains(output.node_taints, { key = "cloud.google.com/compute-class", value = "gpu", effect = "NoSchedule" })
    error_message = "A node of a class needs the class's label and taint."
  }
}

run "refuses_flex_start_with_idle_nodes" {
  command = plan
  variables {
    flex_start = true
    min_nodes  = 1
  }
  expect_failures = [var.flex_start]
}

run "refuses_a_reservation_for_spot" {
  command = plan
  variables {
    reservation = "diffusion"
    spot        = true
  }
  expect_failures = [var.spot]
}

run "refuses_a_reservation_by_its_path" {
  command = plan
  variables { reservation = "projects/team-diffusion/reservations/diffusion" }
  expect_failures = [var.reservation]
}

run "refuses_a_class_with_capitals" {
  command = plan
  variables { compute_class = "GPU" }
  expect_failures = [var.compute_class]
}

run "refuses_a_disk_by_its_family" {
  command = plan
  variables { boot_disks = [{ image = "serving" }] }
  expect_failures = [var.boot_disks]
}

run "refuses_a_key_by_its_short_name" {
  command = plan
  variables { kms_key = "diffusion" }
  expect_failures = [var.kms_key]
}
