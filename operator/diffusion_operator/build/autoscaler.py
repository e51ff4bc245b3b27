"""ScaledObject or HorizontalPodAutoscaler: scaling by requests that wait, by someone else."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import Autoscaling
from diffusion_operator.build.metadata import child
from diffusion_operator.build.server import PORT
from diffusion_operator.build.service import url
from diffusion_operator.objects import Object
from diffusion_operator.scaling.own import QUEUE_METRIC


def scaled_object(owner: Mapping[str, Any], scaling: Autoscaling) -> Object:
    """KEDA's: it reads the metrics of every pod behind the Service and adds them up."""
    meta = owner["metadata"]
    trigger = {
        "type": "metrics-api",
        "metadata": {
            "url": f"{url(meta['name'], meta['namespace'])}:{PORT}/metrics",
            "format": "prometheus",
            "valueLocation": QUEUE_METRIC,
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
            "targetValue": str(scaling.target_queued_per_replica),
        },
    }
    return child(
        owner,
        "keda.sh/v1alpha1",
        "ScaledObject",
        meta["name"],
        spec={
            "scaleTargetRef": _deployment(owner),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "triggers": [trigger],
        },
    )


def pod_autoscaler(owner: Mapping[str, Any], scaling: Autoscaling) -> Object:
    """Kubernetes' own, on a metric of the pods that a custom-metrics API serves."""
    target = {"type": "AverageValue", "averageValue": str(scaling.target_queued_per_replica)}
    metric = {"metric": {"name": QUEUE_METRIC}, "target": target}
    return child(
        owner,
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        owner["metadata"]["name"],
        spec={
            "scaleTargetRef": _deployment(owner),
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Pods", "pods": metric}],
        },
    )


def _deployment(owner: Mapping[str, Any]) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner["metadata"]["name"]}
