"""A pipeline whose calls are recorded, so that another process can see one that hangs."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import (
    BatchOutput,
    Checker,
    ImageState,
    OnStep,
    Picture,
    Pipeline,
    StepPipeline,
)
from diffusion_serving.observability.device_calls import DeviceCalls, Work

T = TypeVar("T")


class WatchedPipeline:
    """A pipeline that records each of its calls in `calls`; it is the other one in all else."""

    def __init__(self, pipeline: Pipeline, calls: DeviceCalls) -> None:
        self._pipeline = pipeline
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    @property
    def stepwise(self) -> "WatchedSteps | None":
        steps = self._pipeline.stepwise
        return None if steps is None else WatchedSteps(steps, self._calls)

    @property
    def checker(self) -> "WatchedChecker | None":
        checker = self._pipeline.checker
        return None if checker is None else WatchedChecker(checker, self._calls)

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        first = batch[0]
        images = sum(request.images for request in batch)
        work = Work(images, first.pixels, first.steps)
        return _recorded(self._calls, work, lambda: self._pipeline(batch, on_step))


class WatchedSteps:
    """A pipeline's stages, each call of which is recorded: one step at most is in a call."""

    def __init__(self, steps: StepPipeline, calls: DeviceCalls) -> None:
        self._steps = steps
        self._calls = calls

    def begin(self, requests: Sequence[ImageRequest]) -> Sequence[Sequence[ImageState]]:
        images = sum(request.images for request in requests)
        work = Work(images, requests[0].pixels, stage="begin")
        return _recorded(self._calls, work, lambda: self._steps.begin(requests))

    def step(self, images: Sequence[ImageState]) -> None:
        work = Work(len(images), images[0].pixels, stage="step")
        _recorded(self._calls, work, lambda: self._steps.step(images))

    def decode(self, images: Sequence[ImageState]) -> Sequence[Picture]:
        work = Work(len(images), images[0].pixels, stage="decode")
        return _recorded(self._calls, work, lambda: self._steps.decode(images))


class WatchedChecker:
    """A safety checker, each call of which is recorded beside the pipeline's own."""

    def __init__(self, checker: Checker, calls: DeviceCalls) -> None:
        self.name = checker.name
        self._checker = checker
        self._calls = calls

    def __call__(self, pictures: Sequence[Picture]) -> Sequence[bool]:
        first = pictures[0]
        work = Work(len(pictures), first.width * first.height, stage="safety")
        return _recorded(self._calls, work, lambda: self._checker(pictures))


def _recorded(calls: DeviceCalls, work: Work, call: Callable[[], T]) -> T:
    calls.begin(work)
    try:
        return call()
    finally:
        calls.end()
