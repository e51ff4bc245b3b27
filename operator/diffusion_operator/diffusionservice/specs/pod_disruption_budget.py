"""PodDisruptionBudget: a node drain evicts one replica at a time."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.label_selector import selector
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object


def disruption_budget(owner: Mapping[str, Any], least: int | None = None) -> Object:
    """PodDisruptionBudget of a service of several replicas; with one it would only block the drain.

    ``least`` is the minimum of available pods where the workload has no /scale, as a RayCluster has
    none.
    """
    return child(
        owner,
        "PodDisruptionBudget",
        owner["metadata"]["name"],
        spec={
            **({"maxUnavailable": 1} if least is None else {"minAvailable": least}),
            "selector": {"matchLabels": selector(owner)},
            # A pod that doesn't answer must not block the drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
