"""The operator: makes DiffusionServices and LoadTests come true in a Kubernetes cluster."""
