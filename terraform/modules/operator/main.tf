# This project's chart as a Helm release.
locals {
  own_chart = "${path.module}/../../../deploy/chart"
  crds      = "${local.own_chart}/files/crds"

  # The chart's files, among them the definitions, which a link in the chart leads to.
  content = sha256(join("", concat(
    [for name in sort(fileset(local.own_chart, "**")) : "${name} ${filesha256("${local.own_chart}/${name}")}"],
    [for name in sort(fileset(local.crds, "**")) : "${name} ${filesha256("${local.crds}/${name}")}"],
  )))

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
  chart            = coalesce(var.chart, local.own_chart)
  values           = [yamlencode(local.values)]

  # The provider compares the version of a chart in a directory, not its files; another description is a change.
  description = var.chart == null ? "Chart ${substr(local.content, 0, 16)}" : null

  # A release that doesn't become ready is rolled back to the previous one.
  atomic          = true
  cleanup_on_fail = true
  wait            = true
  timeout         = 600
  max_history     = 10
}
