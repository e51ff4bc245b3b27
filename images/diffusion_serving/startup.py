"""Puts the engine together: what it loads, on which device, and what it warms up with."""

import logging

from diffusion_serving.api import Defaults
from diffusion_serving.config import ServingConfig
from diffusion_serving.engine import Engine
from diffusion_serving.generation import Generation, Pipeline
from diffusion_serving.metrics import Metrics

log = logging.getLogger(__name__)


def make_engine(config: ServingConfig, metrics: Metrics) -> Engine:
    """The engine for a configuration, not started yet."""

    def load() -> Pipeline:
        # Here and not above, so that HTTP is up before the seconds that importing torch takes.
        from diffusion_serving.model_files import inspect  # noqa: PLC0415

        files = inspect(config.model.path)
        from diffusion_serving.pipeline import load_pipeline  # noqa: PLC0415

        pipeline = load_pipeline(
            files, config.generation.scheduler, config.device, config.precision
        )
        if pipeline.device_memory_bytes is not None:
            metrics.publish_device_memory(lambda: pipeline.device_memory_bytes or 0)
        return pipeline

    return Engine(
        load,
        lambda pipeline: warm_up_of(config, pipeline),
        max_queue=config.queue.max_length,
        queue_timeout=config.queue.timeout_seconds,
        metrics=metrics,
    )


def warm_up_of(config: ServingConfig, pipeline: Pipeline) -> Generation:
    """One image with the service's defaults: a service whose default fails is not ready."""
    defaults = Defaults.of(config.generation, pipeline.native_size)
    return Generation(
        prompt="warm-up",
        negative_prompt="",
        steps=defaults.steps,
        guidance_scale=defaults.guidance_scale,
        width=defaults.width,
        height=defaults.height,
        seeds=(0,),
    )
