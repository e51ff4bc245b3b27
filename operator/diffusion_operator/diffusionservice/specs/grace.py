"""Grace period: the time in which a serving pod answers its last requests before it is killed."""

import math
from dataclasses import dataclass

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import seconds
from diffusion_operator.settings import Accelerator

# All nodes remove a terminating pod from their endpoints within this time, as a rule.
ENDPOINTS_SECONDS = 5
# The listener closes after so long without a request. The time is longer than clients' pauses
# between requests, otherwise a closing idle connection could meet the next request.
DRAIN_SECONDS = 3
# The listener closes after so long in any case, where nodes still route requests to the pod.
DRAIN_LIMIT_SECONDS = 30
# The server refuses what it couldn't finish, and a framework stops its own processes.
ENDING_SECONDS = {"fastapi": 5, "litserve": 15, "rayserve": 15}

# The speed of SD 1.x with guidance, of the slowest GPU that the catalogue names and of two CPU
# cores, in pixels of one image times steps a second. The spec alone has to define a pod, so it
# can't follow what a server measured.
PIXEL_STEPS_PER_SECOND = {"cuda": 1_000_000, "cpu": 10_000}
SHORTEST_REQUEST_LIMIT = 60
# A node that is drained waits no longer for one pod; the server refuses what takes longer.
LONGEST_REQUEST_LIMIT = 600


@dataclass(frozen=True)
class GracePeriod:
    """Seconds from the pod's deletion to its kill, and from SIGTERM to the last answer."""

    pod: int
    server: int


def grace_period(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> GracePeriod:
    """Grace period that the limits, the queue and the device need, or that podTemplate sets."""
    around = ENDPOINTS_SECONDS + ENDING_SECONDS[spec.backend]
    needed = DRAIN_LIMIT_SECONDS + seconds(spec.queue.timeout) + _longest_request(spec, accelerator)
    pod = _of_template(spec)
    if pod is None:
        pod = around + math.ceil(needed)
    return GracePeriod(pod, max(1, pod - around))


def _longest_request(spec: DiffusionServiceSpec, accelerator: Accelerator | None) -> float:
    """Seconds that the largest request within the limits takes, within bounds."""
    limits, device = spec.limits, accelerator.device if accelerator else "cpu"
    work = limits.max_steps * limits.max_pixels * limits.max_images_per_request
    expected = work / PIXEL_STEPS_PER_SECOND[device]
    return min(max(expected, SHORTEST_REQUEST_LIMIT), LONGEST_REQUEST_LIMIT)


def _of_template(spec: DiffusionServiceSpec) -> int | None:
    """The period that the user's podTemplate sets instead; None if it sets none."""
    if spec.pod_template is None:
        return None
    template = spec.pod_template.model_dump(mode="json", by_alias=True, exclude_unset=True)
    period = (template.get("spec") or {}).get("terminationGracePeriodSeconds")
    return period if isinstance(period, int) else None
