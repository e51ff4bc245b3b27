# The inputs of prod: the one place to change them. People and CI read this file, and a change is reviewed like code. Only
# images come from elsewhere: CI writes their digests to images.auto.tfvars.json.
project_id = "team-diffusion-prod"
region     = "us-central1"
zones      = ["us-central1-a", "us-central1-b", "us-central1-c"]

accelerator      = "nvidia-l4"
gpu_machine_type = null # the accelerator's usual one
spot             = false
flex_start       = false # wait for capacity that is lent for at most seven days
reservation      = null  # the name of a reservation
min_gpu_nodes    = 0
max_gpu_nodes    = 3

# With spot = true: a pool on demand, where no Spot node is to be had.
on_demand_fallback = false

# Disk images with the serving image or with weights, from which nodes start warm (docs/gke.md).
gpu_boot_disks = []

# namespace/name of each DiffusionService whose pods read models from the bucket
model_readers = []

# false once Argo CD installs the operator (docs/gitops.md)
install_operator = true

# A landing zone's own network, cluster and key, and what it asks for (docs/gke.md).
existing_network       = null
existing_cluster       = null
kms_key                = null
secret_sync            = false
backup                 = null # { retain_days = 14 }
maintenance_exclusions = {}
