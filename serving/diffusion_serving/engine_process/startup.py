"""Puts the engine together: what it loads, on which device, and what it warms up with."""

import threading
from collections.abc import Callable, Iterable

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine import Batching, BatchRunner, Engine, start_runner
from diffusion_serving.engine.generation import Generation, Pipeline
from diffusion_serving.http.requests.predict import Defaults
from diffusion_serving.observability.metrics import DeviceUse, Metrics

Load = Callable[[ServingConfig, int], Pipeline]
"""Makes the pipeline that a configuration describes, on the device with that index."""


def load_model(config: ServingConfig, device_index: int) -> Pipeline:
    """Loads the model's directory with diffusers.

    Raises:
        StartupError: saying what keeps it from being loaded.

    """
    # Here and not above, so that HTTP is up before the seconds that importing torch takes.
    from diffusion_serving.fetch.model_files import inspect  # noqa: PLC0415

    files = inspect(config.model.path)
    from diffusion_serving.pipeline import load_pipeline  # noqa: PLC0415

    return load_pipeline(files, config, device_index)


def make_engine(config: ServingConfig, metrics: Metrics, load: Load = load_model) -> Engine:
    """The engine for a configuration, not started yet."""
    publish = _Publisher(metrics)

    def load_one(index: int) -> Pipeline:
        return publish(load(config, index))

    return Engine(
        load_one,
        lambda pipeline: warm_up_of(config, pipeline),
        max_queue=config.queue.max_length,
        queue_timeout=config.queue.timeout_seconds,
        metrics=metrics,
        batching=Batching(
            max_images=config.batching.max_size,
            max_wait=config.batching.max_wait_milliseconds / 1000,
            one_job=config.batching.mode == "none",
        ),
        devices=config.devices,
        timed=True,
    )


def load_runner(
    config: ServingConfig, metrics: Metrics, device_index: int = 0, load: Load = load_model
) -> BatchRunner:
    """Loads and warms up one device in the calling thread, for a framework that forms batches.

    Raises:
        StartupError: saying what keeps it from serving.

    """
    publish = _Publisher(metrics)
    return start_runner(
        lambda: publish(load(config, device_index)),
        lambda pipeline: warm_up_of(config, pipeline),
        max_images=config.batching.max_size,
        metrics=metrics,
        timed=True,
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


class _Publisher:
    """Tells the metrics what is in use: the first device's name, the memory of all."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._pipelines: list[Pipeline] = []

    def __call__(self, pipeline: Pipeline) -> Pipeline:
        with self._lock:
            self._pipelines.append(pipeline)
            if len(self._pipelines) == 1:
                self._metrics.publish_device(pipeline.device, pipeline.device_name, pipeline.dtype)
                if pipeline.device_memory_bytes is not None:
                    self._metrics.publish_device_memory(self._memory_bytes)
                if pipeline.device_use is not None:
                    self._metrics.publish_device_use(self._use)
        return pipeline

    def _memory_bytes(self) -> int:
        return sum(pipeline.device_memory_bytes or 0 for pipeline in self._pipelines)

    def _use(self) -> DeviceUse:
        uses = [use for pipeline in self._pipelines if (use := pipeline.device_use) is not None]
        return DeviceUse(_sum(use.joules for use in uses), _sum(use.busy_seconds for use in uses))


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known, None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
