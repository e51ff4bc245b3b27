"""PodDisruptionBudget: a node that is drained takes one replica at a time."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.build.metadata import child, selector
from diffusion_operator.objects import Object


def disruption_budget(owner: Mapping[str, Any], least: int | None = None) -> Object:
    """The budget of a service of several replicas; with one it would only block the drain.

    ``least`` is how many have to stay where no one could tell how many there should be: a
    RayCluster has no /scale, and Kubernetes then knows no share that may be missing.
    """
    return child(
        owner,
        "policy/v1",
        "PodDisruptionBudget",
        owner["metadata"]["name"],
        spec={
            **({"maxUnavailable": 1} if least is None else {"minAvailable": least}),
            "selector": {"matchLabels": selector(owner)},
            # A pod that doesn't answer anyway must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
