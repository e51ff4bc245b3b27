mock_provider "helm" {}

variables {
  registry = "europe-west4-docker.pkg.dev/team-diffusion/prod"
  images = {
    operator = "europe-west4-docker.pkg.dev/team-diffusion/prod/diffusion-operator@sha256:0000000000000000000000000000000000000000000000000000000000000001"
  }
}

run "passes_the_chart_its_images" {
  command = plan

  assert {
    condition     = yamldecode(helm_release.operator.values[0]).registry == var.registry && yamldecode(helm_release.operator.values[0]).images.operator == var.images.operator
    error_message = "The chart must get the registry and the image by digest."
  }

  assert {
    condition     = helm_release.operator.atomic && helm_release.operator.wait
    error_message = "A release that doesn't become ready must be rolled back."
  }

  assert {
    condition     = fileexists("${helm_release.operator.chart}/Chart.yaml")
    error_message = "The chart must be this repository's."
  }
}

run "lets_values_go_first" {
  command = plan
  variables {
    values = { workers = 4, registry = "elsewhere.example/images" }
  }

  assert {
    condition     = output.values.workers == 4 && output.values.registry == "elsewhere.example/images"
    error_message = "Further values must override the module's own."
  }
}

run "leaves_the_crds_to_argo_cd" {
  command = plan
  variables { install_crds = false }

  assert {
    condition     = output.values.crds.install == false
    error_message = "The chart must not install the CRDs."
  }
}

run "refuses_a_registry_with_a_scheme" {
  command = plan
  variables { registry = "https://europe-west4-docker.pkg.dev/team" }
  expect_failures = [var.registry]
}

run "refuses_an_unknown_backend" {
  command = plan
  variables {
    images = { backends = { flask = "somewhere/flask:1" } }
  }
  expect_failures = [var.images]
}

run "refuses_a_namespace_with_capitals" {
  command = plan
  variables { namespace = "Diffusion" }
  expect_failures = [var.namespace]
}

run "refuses_a_name_with_dots" {
  command = plan
  variables { name = "diffusion.operator" }
  expect_failures = [var.name]
}

run "refuses_no_chart" {
  command = plan
  variables { chart = "" }
  expect_failures = [var.chart]
}

run "refuses_a_tag_with_its_colon" {
  command = plan
  variables { tag = ":1.0" }
  expect_failures = [var.tag]
}

run "refuses_a_quantity_without_its_unit" {
  command = plan
  variables { resources = { limits = { memory = "half a gigabyte" } } }
  expect_failures = [var.resources]
}
