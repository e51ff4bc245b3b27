# A branch's own environment, created and destroyed by CI: its own network, cluster, registry, bucket and
# accounts, in a project that holds no resource of prod.
provider "google" {
  project = var.project_id
  region  = var.region
}

# The token comes from gcloud when it is needed, and is never stored in the state.
provider "helm" {
  kubernetes = {
    host = "https://${module.cluster.endpoint}"
    exec = {
      api_version = "client.authentication.k8s.io/v1"
      command     = "gke-gcloud-auth-plugin"
    }
  }
}

locals {
  # A branch's name may have slashes, capitals and any length; a resource's name may not. So the name is the
  # branch's beginning, and four digits that distinguish branches that begin alike.
  slug   = trim(substr(replace(lower(var.branch), "/[^a-z0-9]+/", "-"), 0, 8), "-")
  name   = "t-${local.slug}-${substr(sha256(var.branch), 0, 4)}"
  labels = { environment = "test", branch = local.name }
}

module "network" {
  source = "../../modules/network"

  project_id = var.project_id
  name       = local.name
  region     = var.region
  ranges     = var.ranges
}

module "node_identity" {
  source = "../../modules/identity"

  project_id = var.project_id
  name       = local.name

  service_accounts = {
    nodes = {
      description = "Runs the nodes of the ${local.name} cluster"
      roles       = ["roles/container.defaultNodeServiceAccount"]
    }
  }
}

module "cluster" {
  source = "../../modules/cluster"

  project_id           = var.project_id
  name                 = local.name
  location             = var.zone
  zones                = [var.zone]
  network              = module.network.network
  subnetwork           = module.network.subnetwork
  pods_range           = module.network.pods_range
  services_range       = module.network.services_range
  node_service_account = module.node_identity.emails["nodes"]
  release_channel      = "REGULAR"
  deletion_protection  = false
  labels               = local.labels
}

module "gpu_pool" {
  source = "../../modules/gpu_pool"

  project_id           = var.project_id
  name                 = "gpu"
  cluster              = module.cluster.name
  location             = module.cluster.location
  zones                = [var.zone]
  accelerator          = var.accelerator
  max_nodes            = var.max_gpu_nodes
  spot                 = var.spot
  node_service_account = module.node_identity.emails["nodes"]
  labels               = local.labels
}

# The workload identity pool of the pods exists only once the project has a cluster.
module "model_identity" {
  source = "../../modules/identity"

  project_id = var.project_id
  name       = local.name

  service_accounts = {
    models = {
      description = "Reads models for the pods of DiffusionServices"
      kubernetes  = var.model_readers
    }
  }

  depends_on = [module.cluster]
}

module "registry" {
  source = "../../modules/registry"

  project_id = var.project_id
  name       = local.name
  region     = var.region
  readers    = { nodes = module.node_identity.members["nodes"] }
  labels     = local.labels
}

module "storage" {
  source = "../../modules/storage"

  project_id    = var.project_id
  name          = local.name
  region        = var.region
  force_destroy = true
  readers       = { models = module.model_identity.members["models"] }
  labels        = local.labels
}

module "operator" {
  count  = var.install_operator ? 1 : 0
  source = "../../modules/operator"

  registry = module.registry.url
  tag      = var.tag
  images   = var.images

  depends_on = [module.gpu_pool]
}
