"""A model whose step loop is hidden, so that the engine schedules whole calls of it."""

from typing import Any, cast

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, OnStep, Pipeline
from diffusion_serving.engine_process.startup import load_model

WHOLE_CALLS = "model/calls"
"""The flag of `serving.launch` for such a model."""


class WholeCalls:
    """A pipeline without its step loop; it is the other one in all else."""

    stepwise = None

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def __call__(self, batch: list[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        return self._pipeline(batch, on_step)


def load(config: ServingConfig, device: int) -> Pipeline:
    """A `startup.Load` of the configuration's model."""
    # Every attribute is passed on, which a type checker cannot see.
    return cast("Pipeline", WholeCalls(load_model(config, device)))
