# This project's chart as a Helm release.
locals {
  values = merge(
    {
      registry  = var.registry
      tag       = var.tag
      crds      = { install = var.install_crds }
      images    = var.images
      resources = var.resources
    },
    var.values,
  )
}

resource "helm_release" "operator" {
  name             = var.name
  namespace        = var.namespace
  create_namespace = true
  chart            = coalesce(var.chart, "${path.module}/../../../deploy/chart")
  values           = [yamlencode(local.values)]

  # A release that doesn't become ready is rolled back to the previous one.
  atomic          = true
  cleanup_on_fail = true
  wait            = true
  timeout         = 600
  max_history     = 10
}
