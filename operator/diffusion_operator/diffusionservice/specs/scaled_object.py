"""ScaledObject: KEDA scales the Deployment by the requests that wait."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import Autoscaling
from diffusion_operator.diffusionservice.specs.horizontal_pod_autoscaler import scale_target
from diffusion_operator.diffusionservice.specs.server_container import PORT, QUEUE_METRIC
from diffusion_operator.diffusionservice.specs.service import url
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object


def scaled_object(owner: Mapping[str, Any], scaling: Autoscaling) -> Object:
    """ScaledObject; KEDA sums the metrics of all pods behind the Service."""
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
        "ScaledObject",
        meta["name"],
        spec={
            "scaleTargetRef": scale_target(owner),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "triggers": [trigger],
        },
    )
