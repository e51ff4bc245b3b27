"""HorizontalPodAutoscaler: Kubernetes scales the Deployment by the cost in flight."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.replica_load import LOAD_METRIC, load_per_replica
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object


def horizontal_pod_autoscaler(
    owner: Mapping[str, Any], spec: DiffusionServiceSpec, scaling: Autoscaling
) -> Object:
    """HorizontalPodAutoscaler on a pod metric of a custom-metrics API."""
    target = {"type": "AverageValue", "averageValue": str(load_per_replica(spec))}
    metric = {"metric": {"name": LOAD_METRIC}, "target": target}
    return child(
        owner,
        "HorizontalPodAutoscaler",
        owner["metadata"]["name"],
        spec={
            "scaleTargetRef": scale_target(owner),
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Pods", "pods": metric}],
        },
    )


def scale_target(owner: Mapping[str, Any]) -> Object:
    """Reference to the Deployment that an autoscaler scales."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner["metadata"]["name"]}
