mock_provider "google" {}
mock_provider "helm" {}

variables {
  project_id = "team-diffusion-prod"
  region     = "europe-west4"
  zones      = ["europe-west4-a", "europe-west4-b"]
}

run "composes_the_modules" {
  assert {
    condition     = output.cluster == "prod" && output.location == "europe-west4" && output.registry == "europe-west4-docker.pkg.dev/team-diffusion-prod/prod"
    error_message = "Prod must be one regional cluster with its own registry."
  }

  assert {
    condition     = output.operator_values.registry == output.registry
    error_message = "The operator must take its images from the environment's own registry."
  }

  assert {
    condition     = contains([for labels in yamldecode(file("../../../deploy/chart/values.yaml")).accelerators["nvidia-l4"].nodeLabels : jsonencode(labels)], jsonencode(output.gpu_node_labels))
    error_message = "The operator's catalogue must select the GPU nodes."
  }
}

run "makes_no_account" {
  command = plan

  assert {
    condition     = output.models_service_account == "prod-models@${var.project_id}.iam.gserviceaccount.com"
    error_message = "The bootstrap makes the accounts."
  }
}

run "leaves_the_operator_to_argo_cd" {
  command = plan
  variables { install_operator = false }

  assert {
    condition     = length(module.operator) == 0 && output.operator_values == null
    error_message = "Terraform and Argo CD must not both install the operator."
  }
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_zones_of_another_region" {
  command = plan
  variables { zones = ["us-central1-a"] }
  expect_failures = [var.zones]
}

run "refuses_a_zone_for_a_region" {
  command = plan
  variables { region = "europe-west4-a" }
  expect_failures = [var.region]
}

run "refuses_a_branch_for_a_commit" {
  command = plan
  variables { commit = "main" }
  expect_failures = [var.commit]
}

run "uses_a_network_that_is_there" {
  command = plan
  variables {
    existing_network = {
      network        = "projects/team-network/global/networks/shared"
      subnetwork     = "projects/team-network/regions/europe-west4/subnetworks/gke"
      pods_range     = "gke-pods"
      services_range = "gke-services"
    }
  }

  assert {
    condition     = length(module.network) == 0 && length(module.cluster) == 1
    error_message = "With an existing network, only the cluster is made."
  }
}

run "uses_a_cluster_that_is_there" {
  command = plan
  variables {
    existing_cluster = { name = "shared", location = "europe-west4", endpoint = "gke-0123456789abcdef.europe-west4.gke.goog" }
  }

  assert {
    condition     = length(module.network) == 0 && length(module.cluster) == 0 && output.cluster == "shared"
    error_message = "With an existing cluster, neither network nor cluster is made."
  }
}

run "falls_back_to_capacity_on_demand" {
  variables {
    spot               = true
    on_demand_fallback = true
  }

  assert {
    condition     = output.operator_values.computeClasses.gpu == ["gpu", "gpu-on-demand"]
    error_message = "The class must prefer Spot."
  }

  assert {
    condition = alltrue([
      for taint in output.gpu_node_taints : anytrue([
        for toleration in output.operator_values.accelerators["nvidia-l4"].tolerations : toleration.key == taint.key && toleration.effect == taint.effect
      ])
    ])
    error_message = "Pods must tolerate the taints of the class's nodes."
  }
}

run "refuses_a_fallback_of_nothing" {
  command = plan
  variables { on_demand_fallback = true }
  expect_failures = [var.on_demand_fallback]
}

run "refuses_a_subnetwork_of_another_region" {
  command = plan
  variables {
    existing_network = {
      network        = "projects/team-network/global/networks/shared"
      subnetwork     = "projects/team-network/regions/us-central1/subnetworks/gke"
      pods_range     = "gke-pods"
      services_range = "gke-services"
    }
  }
  expect_failures = [var.existing_network]
}

run "refuses_settings_of_a_cluster_that_is_not_made_here" {
  command = plan
  variables {
    existing_cluster = { name = "shared", location = "europe-west4", endpoint = "gke-0123456789abcdef.europe-west4.gke.goog" }
    backup           = {}
  }
  expect_failures = [var.existing_cluster]
}
