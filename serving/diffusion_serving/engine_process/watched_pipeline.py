"""A pipeline whose calls are recorded, so that another process can see one that hangs."""

from collections.abc import Sequence
from typing import Any

from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, OnStep, Pipeline
from diffusion_serving.observability.device_calls import DeviceCalls, Work


class WatchedPipeline:
    """A pipeline that records each of its calls in `calls`; it is the other one in all else."""

    def __init__(self, pipeline: Pipeline, calls: DeviceCalls) -> None:
        self._pipeline = pipeline
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        first = batch[0]
        images = sum(request.images for request in batch)
        self._calls.begin(Work(images, first.width * first.height, first.steps))
        try:
            return self._pipeline(batch, on_step)
        finally:
            self._calls.end()
