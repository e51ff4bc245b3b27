"""The grace period, by limits, queue and device."""

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.grace import (
    LONGEST_REQUEST_LIMIT,
    SHORTEST_REQUEST_LIMIT,
    grace_period,
)
from diffusion_operator.settings import Accelerator

L4 = Accelerator(resource_name="nvidia.com/gpu")
SMALL = {"maxSteps": 4, "maxPixels": 262144, "maxImagesPerRequest": 1}


def spec(**fields: Any) -> DiffusionServiceSpec:
    model = {"source": "image:///models/demo"}
    return DiffusionServiceSpec.model_validate({"backend": "fastapi", "model": model, **fields})


def server_seconds(accelerator: Accelerator | None = None, **fields: Any) -> int:
    return grace_period(spec(queue={"timeout": "60s"}, **fields), accelerator).server


def test_largest_request_that_the_limits_allow_has_its_time_on_a_gpu() -> None:
    """100 steps of four images of a megapixel took longer on an L4 than the pod was given."""
    large = {"maxSteps": 100, "maxPixels": 1024 * 1024, "maxImagesPerRequest": 4}
    assert server_seconds(L4, limits=large) - server_seconds(L4, limits=SMALL) > 300


@pytest.mark.parametrize(
    ("limits", "longest"),
    [(SMALL, SHORTEST_REQUEST_LIMIT), ({"maxSteps": 500}, LONGEST_REQUEST_LIMIT)],
)
def test_longest_request_has_bounds(limits: dict[str, int], longest: int) -> None:
    short = server_seconds(L4, limits=SMALL)
    assert server_seconds(L4, limits=limits) - short == longest - SHORTEST_REQUEST_LIMIT


def test_requests_that_wait_have_their_time_too() -> None:
    patient = grace_period(spec(queue={"timeout": "300s"}, limits=SMALL), L4)
    assert patient.server - server_seconds(L4, limits=SMALL) == 240


@pytest.mark.parametrize("backend", ["fastapi", "litserve", "rayserve"])
def test_server_answers_before_the_kill(backend: str) -> None:
    period = grace_period(spec(backend=backend), L4)
    assert period.pod - period.server >= 10


@pytest.mark.parametrize(("pod", "server"), [(120, 110), (5, 1)])
def test_period_of_the_pod_template_is_the_servers_too(pod: int, server: int) -> None:
    template = {"spec": {"terminationGracePeriodSeconds": pod}}
    period = grace_period(spec(podTemplate=template), L4)
    assert (period.pod, period.server) == (pod, server)
