# The inputs of every branch's environment; CI adds the branch and its images.
project_id      = "team-diffusion-test"
prod_project_id = "team-diffusion-prod"
region          = "us-central1"
zone            = "us-central1-a"
