"""Replica calculator: the operator's own autoscaling by queue lengths."""

import math
from collections.abc import Sequence

from diffusion_operator.api.diffusionservice import Autoscaling
from diffusion_operator.diffusionservice.specs.server_container import QUEUE_METRIC

# A queue may be short by chance for a while, and a new replica costs a model load.
CALM_SECONDS = 300.0


def queued(exposition: str) -> float | None:
    """Queue length of a pod by its metrics, or ``None`` where they lack it."""
    values = [
        float(line.rpartition(" ")[2])
        for line in exposition.splitlines()
        if line.startswith((f"{QUEUE_METRIC} ", f"{QUEUE_METRIC}{{"))
    ]
    return sum(values) if values else None


def computed_replicas(waiting: Sequence[float | None], scaling: Autoscaling) -> int | None:
    """Replicas that keep each queue at its target; ``None`` where no pod reports."""
    known = [count for count in waiting if count is not None]
    if not known:
        return None
    replicas = math.ceil(sum(known) / scaling.target_queued_per_replica)
    return within(replicas, scaling)


def within(replicas: int, scaling: Autoscaling) -> int:
    """Number of replicas within the spec's bounds."""
    return min(max(replicas, scaling.min_replicas), scaling.max_replicas)


def next_replicas(current: int, desired: int, calm_seconds: float) -> int:
    """Next number of replicas: up at once, down by one after each calm period."""
    if desired >= current:
        return desired
    return current - 1 if calm_seconds >= CALM_SECONDS else current
