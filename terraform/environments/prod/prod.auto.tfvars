# The inputs of prod: the one place to change them. People and CI read this file, and a change is reviewed like code. Only
# images come from elsewhere: CI writes their digests to images.auto.tfvars.json.
project_id = "team-diffusion-prod"
region     = "us-central1"
zones      = ["us-central1-a", "us-central1-b", "us-central1-c"]

accelerator      = "nvidia-l4"
gpu_machine_type = null # the accelerator's usual one
spot             = false
min_gpu_nodes    = 0
max_gpu_nodes    = 3

# namespace/name of each DiffusionService whose pods read models from the bucket
model_readers = []

# false once Argo CD installs the operator (docs/gitops.md)
install_operator = true
