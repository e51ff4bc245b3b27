mock_provider "google" {}

variables {
  project_id = "team-diffusion"
  name       = "prod"
  region     = "europe-west4"
}

run "keeps_the_nodes_private" {
  assert {
    condition     = google_compute_network.this.auto_create_subnetworks == false
    error_message = "The network must have only its own subnetwork."
  }

  assert {
    condition     = google_compute_subnetwork.nodes.private_ip_google_access
    error_message = "Nodes without an address of their own need private access to Google's APIs."
  }

  assert {
    condition     = google_compute_router_nat.this.nat_ip_allocate_option == "AUTO_ONLY" && one(google_compute_router_nat.this.subnetwork).source_ip_ranges_to_nat == toset(["ALL_IP_RANGES"])
    error_message = "Nodes and pods must reach the internet."
  }

  assert {
    condition     = google_compute_firewall.deny_ingress.direction == "INGRESS" && one(google_compute_firewall.deny_ingress.deny).protocol == "all" && google_compute_firewall.deny_ingress.source_ranges == toset(["0.0.0.0/0"])
    error_message = "The network must deny all incoming traffic."
  }

  assert {
    condition     = length(google_compute_subnetwork.nodes.log_config) == 1
    error_message = "Flow logs must be on."
  }
}

run "gives_pods_and_services_ranges_of_their_own" {
  command = plan

  assert {
    condition = { for range in google_compute_subnetwork.nodes.secondary_ip_range : range.range_name => range.ip_cidr_range } == {
      pods     = "10.20.0.0/16"
      services = "10.30.0.0/20"
    }
    error_message = "The subnetwork must have a range for pods and one for services."
  }

  assert {
    condition     = output.pods_range == "pods" && output.services_range == "services"
    error_message = "The outputs must name the secondary ranges."
  }
}

run "takes_neighbouring_ranges" {
  command = plan
  variables {
    ranges = { nodes = "10.0.0.0/24", pods = "10.0.1.0/24", services = "10.0.2.0/24" }
  }
}

run "refuses_overlapping_ranges" {
  command = plan
  variables {
    ranges = { nodes = "10.0.0.0/22", pods = "10.0.2.0/24", services = "10.1.0.0/24" }
  }
  expect_failures = [var.ranges]
}

run "refuses_a_range_inside_another" {
  command = plan
  variables {
    ranges = { nodes = "10.5.0.0/22", pods = "10.20.0.0/16", services = "10.0.0.0/8" }
  }
  expect_failures = [var.ranges]
}

run "refuses_a_range_twice" {
  command = plan
  variables {
    ranges = { nodes = "10.0.0.0/20", pods = "10.20.0.0/16", services = "10.20.0.0/16" }
  }
  expect_failures = [var.ranges]
}

run "refuses_a_range_that_does_not_begin_at_its_first_address" {
  command = plan
  variables {
    ranges = { nodes = "10.0.0.1/20", pods = "10.20.0.0/16", services = "10.30.0.0/20" }
  }
  expect_failures = [var.ranges]
}

run "refuses_what_is_no_range" {
  command = plan
  variables {
    ranges = { nodes = "everything", pods = "10.20.0.0/16", services = "10.30.0.0/20" }
  }
  expect_failures = [var.ranges]
}

run "refuses_an_empty_project" {
  command = plan
  variables { project_id = "" }
  expect_failures = [var.project_id]
}

run "refuses_a_zone_for_a_region" {
  command = plan
  variables { region = "europe-west4-a" }
  expect_failures = [var.region]
}

run "refuses_a_name_that_is_too_long" {
  command = plan
  variables { name = "a-name-of-more-than-twenty" }
  expect_failures = [var.name]
}
