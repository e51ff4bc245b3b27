"""Loads of the same requests on an engine that schedules steps, and on one that makes calls."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from diffusion_serving.engine import Engine, Result
from diffusion_serving.engine.cost_curve import CostCurve
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, OnStep, Pipeline
from diffusion_serving.gpu_check.lines import Line, judged, skipped
from diffusion_serving.gpu_check.setting import REQUEST_SECONDS, Setting

if TYPE_CHECKING:
    from concurrent.futures import Future

SHORT, LONG = 4, 30
EACH_LONG = 5
"""One of so many requests is long."""
_LEAST = 2 * EACH_LONG
"""The fewest requests of a load, so that it has long ones."""
_FULL_BATCHES = 8
_AS_GOOD = 0.95


@dataclass(frozen=True)
class Loaded:
    """Figures of one engine: images a second where all wait, and p95 seconds at half load."""

    images_per_second: float
    short: float
    long: float


class _WholeCalls:
    """A pipeline without its step loop; it is the other one in all else."""

    stepwise = None

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        return self._pipeline(batch, on_step)


def without_steps(pipeline: Pipeline) -> Pipeline:
    """Returns the pipeline without its step loop, so that an engine makes whole calls of it."""
    # Every attribute is passed on, which a type checker cannot see.
    return cast("Pipeline", _WholeCalls(pipeline))


def arrivals(
    usual: ImageRequest, curve: CostCurve, setting: Setting
) -> list[tuple[float, ImageRequest]]:
    """Returns requests and their times, at half of what the device can make at best."""
    steps = SHORT + (LONG - SHORT) / EACH_LONG
    rate = 1 / (2 * steps * curve.seconds_per_work * curve.reference)
    draw = random.Random(1)  # noqa: S311 - the same arrivals for both engines
    now = 0.0
    requests: list[tuple[float, ImageRequest]] = []
    while now < setting.load_seconds or len(requests) < _LEAST:
        place = len(requests)
        long = place % EACH_LONG == EACH_LONG - 1
        requests.append((now, replace(usual, steps=LONG if long else SHORT, seeds=(place,))))
        now += draw.expovariate(rate)
    return requests


def load(
    engine: Engine, usual: ImageRequest, requests: Sequence[tuple[float, ImageRequest]], images: int
) -> Loaded:
    """Loads an engine: first with many requests at once, then with these at their times."""
    saturated = _saturated(engine, usual, images * _FULL_BATCHES)
    seconds: dict[int, list[float]] = {SHORT: [], LONG: []}
    begin = time.monotonic()
    sent = []
    for moment, request in requests:
        time.sleep(max(0.0, begin + moment - time.monotonic()))
        queued = engine.submit(request)
        queued.future.add_done_callback(partial(_record, seconds[request.steps], begin + moment))
        sent.append(queued)
    for each in sent:
        each.future.result(REQUEST_SECONDS)
    return Loaded(saturated, _p95(seconds[SHORT]), _p95(seconds[LONG]))


def compare(setting: Setting, steps: Loaded, calls: Loaded) -> Iterator[Line]:
    """Yields the figures of steps, each against that of whole calls."""
    images = (steps.images_per_second, calls.images_per_second)
    yield _compared(setting, "images/s, all of 4 steps", *images, images[0] / images[1])
    for name, own, other in (
        ("p95 of 4 steps, half load, mixed", steps.short, calls.short),
        ("p95 of 30 steps, half load, mixed", steps.long, calls.long),
    ):
        yield _compared(setting, name, own, other, other / own)


def _compared(setting: Setting, check: str, own: float, other: float, gain: float) -> Line:
    figure = f"{own:.2f} by steps, {other:.2f} by calls: ratio {own / other:.2f}"
    if not setting.on_gpu:
        return skipped(check, "speed has a verdict on a GPU alone", figure)
    return judged(check, figure, holds=gain >= _AS_GOOD, otherwise="whole calls are better")


def _saturated(engine: Engine, usual: ImageRequest, count: int) -> float:
    """Returns the images a second where so many requests come at once."""
    begin = time.monotonic()
    waiting = [engine.submit(replace(usual, seeds=(seed,))) for seed in range(count)]
    for each in waiting:
        each.future.result(REQUEST_SECONDS)
    return count / (time.monotonic() - begin)


def _record(seconds: list[float], begin: float, _: "Future[Result]") -> None:
    seconds.append(time.monotonic() - begin)


def _p95(seconds: Sequence[float]) -> float:
    """Returns the 95th percentile by nearest rank."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]
