"""Replica calculator: the operator's own autoscaling by the cost of requests in flight."""

import math
from collections.abc import Sequence

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.replica_load import (
    LOAD_METRIC,
    OLDER_LOAD_METRICS,
    load_per_replica,
    running_per_replica,
)

# A queue may be short by chance for a while, and a new replica costs a model load.
CALM_SECONDS = 300.0


def load_of(exposition: str) -> float | None:
    """Cost of the requests that run and wait in a pod by its metrics, ``None`` without any.

    The pods of an older release report the number of requests, or only those that wait.
    """
    loads = (_sum_of(metric, exposition) for metric in (LOAD_METRIC, *OLDER_LOAD_METRICS))
    return next((load for load in loads if load is not None), None)


def _sum_of(metric: str, exposition: str) -> float | None:
    values = [
        float(line.rpartition(" ")[2])
        for line in exposition.splitlines()
        if line.startswith((f"{metric} ", f"{metric}{{"))
    ]
    return sum(values) if values else None


def computed_replicas(
    loads: Sequence[float | None], current: int, spec: DiffusionServiceSpec, scaling: Autoscaling
) -> int | None:
    """Replicas that carry the load; ``None`` where no pod reports.

    There are more once requests wait beyond the target, and fewer only where the rest could run
    everything, so that a steady load between two numbers keeps the higher one.
    """
    known = [load for load in loads if load is not None]
    if not known:
        return None
    enough = math.ceil(sum(known) / load_per_replica(spec))
    without_a_queue = math.ceil(sum(known) / running_per_replica(spec))
    return within(max(enough, min(current, without_a_queue)), scaling)


def within(replicas: int, scaling: Autoscaling) -> int:
    """Number of replicas within the spec's bounds."""
    return min(max(replicas, scaling.min_replicas), scaling.max_replicas)


def next_replicas(current: int, desired: int, calm_seconds: float) -> int:
    """Next number of replicas: up at once, down by one after each calm period."""
    if desired >= current:
        return desired
    return current - 1 if calm_seconds >= CALM_SECONDS else current
