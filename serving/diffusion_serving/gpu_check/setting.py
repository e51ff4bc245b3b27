"""The setting of all checks: the model, its device and how long a load lasts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine import Engine
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.engine_process.startup import load_model, make_engine, warm_up_of
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.metrics import make_metrics

STEPS = 4
ENOUGH = 1000
"""Requests that may wait: no check is about the queue's bound."""
START_SECONDS = 300.0
REQUEST_SECONDS = 120.0


@dataclass(frozen=True)
class Setting:
    """The model and the device to check, and how to check them.

    `load_seconds` is the time of each load, `images` the most in one step. `compile` is the way of
    compiling that is checked, `none` to skip that.
    """

    model: Path
    device: str
    compile: str
    load_seconds: float
    images: int = 8

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU is checked: on a CPU no figure of speed has a verdict."""
        return self.device == "cuda"

    @property
    def precision(self) -> str:
        """The precision that a service has on this device if it names none."""
        return "float16" if self.on_gpu else "float32"

    def config(self, precision: str = "", **changes: Any) -> ServingConfig:
        """Returns the configuration of a service."""
        return ServingConfig.model_validate(
            {
                "model": {"path": self.model},
                "device": self.device,
                "precision": precision or self.precision,
                "generation": {"steps": STEPS, "scheduler": "euler"},
                "queue": {"maxLength": ENOUGH, "timeoutSeconds": START_SECONDS},
                "batching": {"maxSize": self.images},
                **changes,
            }
        )


@contextmanager
def started(config: ServingConfig, load: Callable[[], Pipeline]) -> Iterator[Engine]:
    """Starts an engine as a server does, and stops it at the end.

    Raises:
        StartupError: the model cannot serve.

    """
    engine = make_engine(config, make_metrics(), DeviceCalls(), lambda *_: load())
    engine.start()
    try:
        engine.ready.result(START_SECONDS)
        yield engine
    finally:
        engine.stop(REQUEST_SECONDS)


def loaded(config: ServingConfig) -> Pipeline:
    """Loads the model as a server does."""
    return load_model(config, 0)


def usual_request(config: ServingConfig, pipeline: Pipeline) -> ImageRequest:
    """Returns a request of the service's defaults."""
    return warm_up_of(config, pipeline)


def stepping(engine: Engine) -> StepRunner:
    """Returns the engine's runner, which schedules steps.

    Raises:
        TypeError: the engine makes whole calls.

    """
    runner = engine.ready.result(START_SECONDS)
    if not isinstance(runner, StepRunner):
        raise TypeError("the engine makes whole calls of this model")
    return runner
