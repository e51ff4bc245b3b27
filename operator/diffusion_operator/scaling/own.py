"""The operator's own decision on the number of replicas, from what waits in their queues."""

import math
from collections.abc import Sequence

from diffusion_operator.api.diffusionservice import Autoscaling

QUEUE_METRIC = "diffusion_queue_length"
# A queue that is short for less than this may be so by chance; and a replica costs its start.
CALM_SECONDS = 300.0


def queued(exposition: str) -> float | None:
    """Requests that wait in a pod, from its metrics; nothing where they don't say."""
    values = [
        float(line.rpartition(" ")[2])
        for line in exposition.splitlines()
        if line.startswith((f"{QUEUE_METRIC} ", f"{QUEUE_METRIC}{{"))
    ]
    return sum(values) if values else None


def wanted_replicas(waiting: Sequence[float | None], scaling: Autoscaling) -> int | None:
    """So many that none has more waiting than its share; nothing where no pod tells."""
    known = [count for count in waiting if count is not None]
    if not known:
        return None
    wanted = math.ceil(sum(known) / scaling.target_queued_per_replica)
    return within(wanted, scaling)


def within(replicas: int, scaling: Autoscaling) -> int:
    """The number within the spec's bounds."""
    return min(max(replicas, scaling.min_replicas), scaling.max_replicas)


def next_replicas(current: int, wanted: int, calm_seconds: float) -> int:
    """The step to take: up at once, down by one after each time of calm."""
    if wanted >= current:
        return wanted
    return current - 1 if calm_seconds >= CALM_SECONDS else current
