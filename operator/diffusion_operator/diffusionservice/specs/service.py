"""Service: one stable address for the ready replicas."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.ray_cluster import head_selector, is_cluster
from diffusion_operator.kube.labels import selector
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object

PORT = 80


def service(owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> Object:
    """Service of a DiffusionService; a Ray cluster is reached through its head."""
    return child(
        owner,
        "Service",
        owner["metadata"]["name"],
        spec={
            "type": "ClusterIP",
            "selector": head_selector(owner) if is_cluster(spec) else selector(owner),
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    )


def url(name: str, namespace: str) -> str:
    """URL of a DiffusionService within the cluster."""
    return f"http://{name}.{namespace}.svc"
