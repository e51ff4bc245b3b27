"""Service: one stable address for the ready replicas."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.metadata import child, selector
from diffusion_operator.build.ray_cluster import head_selector, is_cluster
from diffusion_operator.objects import Object

PORT = 80


def service(owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> Object:
    """The Service; a Ray cluster is reached through its head."""
    return child(
        owner,
        "v1",
        "Service",
        owner["metadata"]["name"],
        spec={
            "type": "ClusterIP",
            "selector": head_selector(owner) if is_cluster(spec) else selector(owner),
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    )


def url(name: str, namespace: str) -> str:
    """Where a DiffusionService answers within the cluster."""
    return f"http://{name}.{namespace}.svc"
