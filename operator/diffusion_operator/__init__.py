"""The operator: makes DiffusionServices and LoadTests come true in a Kubernetes cluster."""

from importlib.metadata import version

__version__ = version("diffusion-operator")
