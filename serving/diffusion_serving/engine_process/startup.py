"""Builds the engine from a configuration: its pipeline, its warm-up and its metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from diffusion_serving.documents.serving_config import Defaults, ServingConfig
from diffusion_serving.engine import Batching, BatchRunner, Engine, start_runner
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.engine_process.watched_pipeline import WatchedPipeline
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.metrics import DeviceUse, Metrics

Load = Callable[[ServingConfig, int], Pipeline]
"""Loads the pipeline of a configuration on the visible device with that index."""

_OWN_DEVICE = 0
"""Index of the device: each engine's process sees no other."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """The engine of a process: its configuration, its visible device and its pipeline's loader."""

    config: ServingConfig
    device: int
    load: Load


def load_model(config: ServingConfig, device_index: int) -> Pipeline:
    """Loads the model's directory with diffusers.

    Raises:
        StartupError: the reason why the model cannot be loaded.

    """
    # Here and not above, so that HTTP is up before the seconds that importing torch takes.
    from diffusion_serving.fetch.model_files import inspect  # noqa: PLC0415

    files = inspect(config.model.path)
    from diffusion_serving.pipeline import load_pipeline  # noqa: PLC0415

    return load_pipeline(files, config, device_index)


def make_engine(
    config: ServingConfig, metrics: Metrics, calls: DeviceCalls, load: Load = load_model
) -> Engine:
    """Returns the engine of a configuration, not started yet. `calls` records its device's."""
    return Engine(
        lambda: _load_published(config, metrics, calls, load),
        lambda pipeline: warm_up_of(config, pipeline),
        max_queue=config.queue.max_length,
        queue_timeout=config.queue.timeout_seconds,
        metrics=metrics,
        batching=Batching(
            max_images=config.most_images,
            max_wait=config.batching.max_wait_milliseconds / 1000,
            one_request=config.batching.mode == "none",
        ),
        timed=True,
        blur=config.safety.action == "Blur",
    )


def load_runner(
    config: ServingConfig, metrics: Metrics, calls: DeviceCalls, load: Load = load_model
) -> BatchRunner:
    """Loads and warms up the device in the calling thread, for a framework that forms batches.

    `calls` records the device's.

    Raises:
        StartupError: the reason why the model cannot serve.

    """
    return start_runner(
        lambda: _load_published(config, metrics, calls, load),
        lambda pipeline: warm_up_of(config, pipeline),
        max_images=config.batching.usual_size,
        metrics=metrics,
        timed=True,
        blur=config.safety.action == "Blur",
    )


def warm_up_of(config: ServingConfig, pipeline: Pipeline) -> ImageRequest:
    """Returns the warm-up request, of the service's defaults: if these fail, it is not ready."""
    defaults = Defaults.of(config.generation, pipeline.native_size)
    return ImageRequest(
        prompt="warm-up",
        negative_prompt="",
        steps=defaults.steps,
        guidance_scale=defaults.guidance_scale,
        width=defaults.width,
        height=defaults.height,
        seeds=(0,),
    )


def _load_published(
    config: ServingConfig, metrics: Metrics, calls: DeviceCalls, load: Load
) -> Pipeline:
    """Loads the pipeline, records its calls, and publishes its device, memory and use."""
    pipeline = load(config, _OWN_DEVICE)
    metrics.publish_device(pipeline.device, pipeline.device_name, pipeline.dtype)
    if pipeline.device_memory_bytes is not None:
        metrics.publish_device_memory(lambda: pipeline.device_memory_bytes or 0)
    if pipeline.device_use is not None:
        metrics.publish_device_use(lambda: pipeline.device_use or DeviceUse(None, None))
    # Every attribute is passed on, which a type checker cannot see.
    return cast("Pipeline", WatchedPipeline(pipeline, calls))
