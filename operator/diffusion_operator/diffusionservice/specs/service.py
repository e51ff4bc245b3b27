"""Service: one stable address for the ready replicas."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.ray_cluster import head_selector, is_cluster
from diffusion_operator.kube.label_selector import selector
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


def switches_selector(observed: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> bool:
    """Whether the desired Service selects other pods than the live one.

    Don't switch the selector until the new workload is accepted: the old pods serve, and the API
    server may refuse the new ones.
    """
    return observed is not None and observed["spec"].get("selector") != desired["spec"]["selector"]


def url(name: str, namespace: str) -> str:
    """URL of a DiffusionService within the cluster."""
    return f"http://{name}.{namespace}.svc"
