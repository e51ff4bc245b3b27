"""PodDisruptionBudget: a node that is drained takes one replica at a time."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.build.metadata import child, selector
from diffusion_operator.objects import Object


def disruption_budget(owner: Mapping[str, Any]) -> Object:
    """The budget of a service of several replicas; with one it would only block the drain."""
    return child(
        owner,
        "policy/v1",
        "PodDisruptionBudget",
        owner["metadata"]["name"],
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(owner)},
            # A pod that doesn't answer anyway must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
