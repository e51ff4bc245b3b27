"""Load of a replica: the requests that it runs and that may wait in it."""

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec

# Waiting and running requests: those that wait alone are few until replicas are far too few.
LOAD_METRIC = "diffusion_requests_in_flight"


def running_per_replica(spec: DiffusionServiceSpec) -> int:
    """Requests that one replica runs at the same time."""
    batch = 1 if spec.batching.mode == "none" else spec.batching.max_size
    return batch * (spec.gpu.count if spec.gpu else 1)


def load_per_replica(spec: DiffusionServiceSpec) -> int:
    """Requests, running and waiting, above which a replica is too few."""
    queued = spec.autoscaling.target_queued_per_replica if spec.autoscaling else 0
    return running_per_replica(spec) + queued
