"""ScaledObject: KEDA scales the Deployment by the cost in flight."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.horizontal_pod_autoscaler import scale_target
from diffusion_operator.diffusionservice.specs.replica_load import LOAD_METRIC, load_per_replica
from diffusion_operator.diffusionservice.specs.server_container import PORT
from diffusion_operator.diffusionservice.specs.service import url
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object


def scaled_object(
    owner: Mapping[str, Any], spec: DiffusionServiceSpec, scaling: Autoscaling
) -> Object:
    """ScaledObject; KEDA from 2.20 on sums the metrics of all pods behind the Service.

    KEDA 2.19 may drop a pod from the sum, and 2.18 reads one pod alone.
    """
    meta = owner["metadata"]
    trigger = {
        "type": "metrics-api",
        "metricType": "AverageValue",
        "metadata": {
            "url": f"{url(meta['name'], meta['namespace'])}:{PORT}/metrics",
            "format": "prometheus",
            "valueLocation": LOAD_METRIC,
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
            "targetValue": str(load_per_replica(spec)),
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
