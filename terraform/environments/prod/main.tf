# The production environment: a control plane and nodes in several zones, protected against destruction by mistake.
provider "google" {
  project = var.project_id
  region  = var.region
}

# The token comes from gcloud when it is needed, and is never stored in the state.
provider "helm" {
  kubernetes = {
    host = "https://${module.cluster.endpoint}"
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
}

module "network" {
  source = "../../modules/network"

  project_id = var.project_id
  name       = local.name
  region     = var.region
  ranges     = var.ranges
}

module "cluster" {
  source = "../../modules/cluster"

  project_id           = var.project_id
  name                 = local.name
  location             = var.region
  zones                = var.zones
  network              = module.network.network
  subnetwork           = module.network.subnetwork
  pods_range           = module.network.pods_range
  services_range       = module.network.services_range
  node_service_account = local.nodes_account
  release_channel      = "STABLE"
  deletion_protection  = var.protect
  labels               = local.labels
}

module "gpu_pool" {
  source = "../../modules/gpu_pool"

  project_id           = var.project_id
  name                 = "gpu"
  cluster              = module.cluster.name
  location             = module.cluster.location
  zones                = var.zones
  accelerator          = var.accelerator
  machine_type         = var.gpu_machine_type
  min_nodes            = var.min_gpu_nodes
  max_nodes            = var.max_gpu_nodes
  spot                 = var.spot
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
  labels     = local.labels
}

module "storage" {
  source = "../../modules/storage"

  project_id    = var.project_id
  name          = local.name
  region        = var.region
  force_destroy = !var.protect
  readers       = { models = "serviceAccount:${local.models_account}" }
  labels        = local.labels
}

module "operator" {
  count  = var.install_operator ? 1 : 0
  source = "../../modules/operator"

  registry = module.registry.url
  tag      = var.tag
  images   = var.images

  # Managed Prometheus reads this kind of object and no ServiceMonitor.
  values = { monitoring = { podMonitorings = { enabled = true } } }

  depends_on = [module.gpu_pool]
}
