"""Load of a replica: the cost of the requests that it runs and that may wait in it."""

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.serving_config import USUAL_BATCH

# Waiting and running requests: those that wait alone are few until replicas are far too few. Their
# cost, because a request of ten times the steps keeps a replica busy for ten times as long.
LOAD_METRIC = "diffusion_cost_in_flight"
# The metrics of the pods of older releases, the newest first.
OLDER_LOAD_METRICS = ("diffusion_requests_in_flight", "diffusion_queue_length")


def running_per_replica(spec: DiffusionServiceSpec) -> int:
    """Requests of the service's defaults that one replica runs at the same time."""
    batch = 1 if spec.batching.mode == "none" else spec.batching.max_size or USUAL_BATCH
    return batch * (spec.gpu.count if spec.gpu else 1)


def load_per_replica(spec: DiffusionServiceSpec) -> int:
    """Requests of the defaults, running and waiting, above which a replica is too few."""
    queued = spec.autoscaling.target_queued_per_replica if spec.autoscaling else 0
    return running_per_replica(spec) + queued
