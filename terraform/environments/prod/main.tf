# The production environment: a control plane and nodes in several zones, protected against destruction by mistake.
provider "google" {
  project = var.project_id
  region  = var.region
}

# The token comes from gcloud when it is needed, and is never stored in the state.
provider "helm" {
  kubernetes = {
    host = "https://${local.cluster.endpoint}"
    exec = {
      # The plugin answers this version only, and the client refuses any other.
      api_version = "client.authentication.k8s.io/v1beta1"
      command     = "gke-gcloud-auth-plugin"
    }
  }
}

locals {
  name   = "prod"
  labels = { environment = "prod" }

  # The bootstrap makes these accounts, so that CI needs no right to make any.
  nodes_account  = "prod-nodes@${var.project_id}.iam.gserviceaccount.com"
  models_account = "prod-models@${var.project_id}.iam.gserviceaccount.com"

  # A landing zone may bring the network, or the whole cluster.
  network = one(concat(module.network, var.existing_network[*]))
  cluster = one(concat(module.cluster, var.existing_cluster[*]))

  # Pods select the class instead of one kind of node, and get Spot capacity while there is any.
  compute_class = var.on_demand_fallback ? "gpu" : null
  class_values = var.on_demand_fallback ? {
    computeClasses = { gpu = [module.gpu_pool.name, one(module.gpu_fallback[*].name)] }
    accelerators = {
      (var.accelerator) = {
        nodeLabels = [{ "cloud.google.com/compute-class" = "gpu" }]
        tolerations = [
          { key = "nvidia.com/gpu", operator = "Exists", effect = "NoSchedule" },
          { key = "cloud.google.com/compute-class", operator = "Equal", value = "gpu", effect = "NoSchedule" },
        ]
      }
    }
  } : null
}

# Both modules had no count before an existing network or cluster could be used: a state of then keeps its resources.
moved {
  from = module.network
  to   = module.network[0]
}

moved {
  from = module.cluster
  to   = module.cluster[0]
}

module "network" {
  count  = var.existing_network == null && var.existing_cluster == null ? 1 : 0
  source = "../../modules/network"

  project_id = var.project_id
  name       = local.name
  region     = var.region
  ranges     = var.ranges
}

module "cluster" {
  count  = var.existing_cluster == null ? 1 : 0
  source = "../../modules/cluster"

  project_id             = var.project_id
  name                   = local.name
  location               = var.region
  zones                  = var.zones
  network                = local.network.network
  subnetwork             = local.network.subnetwork
  pods_range             = local.network.pods_range
  services_range         = local.network.services_range
  node_service_account   = local.nodes_account
  release_channel        = "STABLE"
  deletion_protection    = var.protect
  kms_key                = var.kms_key
  secret_sync            = var.secret_sync
  backup                 = var.backup
  maintenance_exclusions = var.maintenance_exclusions
  labels                 = local.labels
}

module "gpu_pool" {
  source = "../../modules/gpu_pool"

  project_id           = var.project_id
  name                 = "gpu"
  cluster              = local.cluster.name
  location             = local.cluster.location
  zones                = var.zones
  accelerator          = var.accelerator
  machine_type         = var.gpu_machine_type
  min_nodes            = var.min_gpu_nodes
  max_nodes            = var.max_gpu_nodes
  spot                 = var.spot
  flex_start           = var.flex_start
  reservation          = var.reservation
  compute_class        = local.compute_class
  boot_disks           = var.gpu_boot_disks
  kms_key              = var.kms_key
  node_service_account = local.nodes_account
  labels               = local.labels
}

# Nodes on demand, which come only where no Spot node is to be had.
module "gpu_fallback" {
  count  = var.on_demand_fallback ? 1 : 0
  source = "../../modules/gpu_pool"

  project_id           = var.project_id
  name                 = "gpu-on-demand"
  cluster              = local.cluster.name
  location             = local.cluster.location
  zones                = var.zones
  accelerator          = var.accelerator
  machine_type         = var.gpu_machine_type
  max_nodes            = var.max_gpu_nodes
  compute_class        = local.compute_class
  boot_disks           = var.gpu_boot_disks
  kms_key              = var.kms_key
  node_service_account = local.nodes_account
  labels               = local.labels
}

# The workload identity pool of the pods exists only once the project has a cluster.
module "model_readers" {
  source = "../../modules/pod_identity"

  project_id      = var.project_id
  service_account = local.models_account
  pods            = var.model_readers

  depends_on = [module.cluster]
}

module "registry" {
  source = "../../modules/registry"

  project_id = var.project_id
  name       = local.name
  region     = var.region
  readers    = { nodes = "serviceAccount:${local.nodes_account}" }
  kms_key    = var.kms_key
  labels     = local.labels
}

module "storage" {
  source = "../../modules/storage"

  project_id    = var.project_id
  name          = local.name
  region        = var.region
  force_destroy = !var.protect
  readers       = { models = "serviceAccount:${local.models_account}" }
  kms_key       = var.kms_key
  labels        = local.labels
}

module "operator" {
  count  = var.install_operator ? 1 : 0
  source = "../../modules/operator"

  registry = module.registry.url
  tag      = var.tag
  images   = var.images

  # Managed Prometheus reads this kind of object and no ServiceMonitor.
  values = merge({ monitoring = { podMonitorings = { enabled = true } } }, local.class_values)

  depends_on = [module.gpu_pool]
}
