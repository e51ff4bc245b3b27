"""The cost of the requests in flight, by which replicas are added and removed."""

import contextlib
from collections.abc import Generator

from prometheus_client import Gauge

from diffusion_serving.documents.serving_config import Defaults, ServingConfig
from diffusion_serving.engine.image_request import ImageRequest


class CostInFlight:
    """Adds up the requests that wait or run, in requests of the service's defaults.

    A single request counts as no more than what a replica runs at the same time, because it can't
    use a second replica. Where no steps are scheduled by their cost, each request counts as one.

    Args:
        config: the defaults, and the images of a step.
        gauge: shows the sum.

    """

    def __init__(self, config: ServingConfig, gauge: Gauge) -> None:
        self._config = config
        self._gauge = gauge
        self._work = 0
        """The work of all; a whole number, so that nothing is left of it when all have ended."""

    @contextlib.contextmanager
    def count(self, request: ImageRequest, native_size: tuple[int, int]) -> Generator[None]:
        """Counts a request for the duration of the block."""
        usual = usual_work(self._config, native_size)
        work = min(request.work, self._config.batching.usual_size * usual)
        if self._config.batching.mode != "engine":
            work = usual
        self._add(work, usual)
        try:
            yield
        finally:
            self._add(-work, usual)

    def _add(self, work: int, usual: int) -> None:
        self._work += work
        self._gauge.set(self._work / usual)


def usual_work(config: ServingConfig, native_size: tuple[int, int]) -> int:
    """Returns the work of a request of the service's defaults."""
    usual = Defaults.of(config.generation, native_size)
    size = usual.width, usual.height
    return ImageRequest("", "", usual.steps, usual.guidance_scale, *size, seeds=(0,)).work
