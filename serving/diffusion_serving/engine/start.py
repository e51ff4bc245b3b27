"""Starts a runner: loads a model, and generates its first image."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from diffusion_serving.engine.failures import failed_start, require_picture
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.lifecycle import Startup
from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.engine.runner import BatchRunner
from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import ModelLoadFailed, StartupError

log = logging.getLogger("diffusion_serving")

Runner = TypeVar("Runner", BatchRunner, StepRunner)
Load = Callable[[], Pipeline]
WarmUp = Callable[[Pipeline], ImageRequest]
"""Returns the request that must succeed before the engine is ready."""


def start_runner(
    load: Load,
    warm_up: WarmUp,
    *,
    max_images: int,
    metrics: Metrics,
    timed: bool = False,
    blur: bool = False,
) -> BatchRunner:
    """Loads a model and generates its first images, one batch of each size that costs time once.

    If `timed`, the pipeline's calls are then timed alone. With `blur`, blocked pictures are blurred
    where their requests would be refused.

    Raises:
        StartupError: the reason why the model cannot serve.

    """
    begin = time.monotonic()
    pipeline = _loaded(load)
    runner = BatchRunner(pipeline, max_images=max_images, metrics=metrics, blur=blur)
    return _warmed(runner, begin, lambda: _warm_calls(runner, warm_up(pipeline), timed=timed))


def start_engine_runner(
    load: Load,
    warm_up: WarmUp,
    *,
    max_images: int,
    metrics: Metrics,
    timed: bool,
    stepwise: bool,
    blur: bool,
) -> BatchRunner | StepRunner:
    """Loads a model, generates its first image, and times its steps where it has a step loop.

    Raises:
        StartupError: the reason why the model cannot serve.

    """
    begin = time.monotonic()
    pipeline = _loaded(load)
    if not stepwise or (steps := pipeline.stepwise) is None:
        calling = BatchRunner(pipeline, max_images=max_images, metrics=metrics, blur=blur)
        return _warmed(calling, begin, lambda: _warm_calls(calling, warm_up(pipeline), timed=timed))
    stepping = StepRunner(pipeline, steps, max_images=max_images, metrics=metrics, blur=blur)
    return _warmed(stepping, begin, lambda: _warm_steps(stepping, warm_up(pipeline)))


def _loaded(load: Load) -> Pipeline:
    try:
        return load()
    except StartupError:
        raise
    except Exception as error:
        log.error("the model failed to load", extra=failure_fields(error))  # noqa: TRY400
        raise ModelLoadFailed(
            f"The model failed to load ({type(error).__name__}: {error}). "
            "Check that the directory is a whole Stable Diffusion pipeline."
        ) from error


def _warm_calls(runner: BatchRunner, first: ImageRequest, *, timed: bool) -> Startup:
    begin = time.monotonic()
    runner.usual_work = first.work
    picture = runner.warm_up(first, runner.pipeline.batch_sizes or (1,))
    require_picture(picture)
    runner.check.warm_up(picture)
    warm = time.monotonic()
    bare = runner.time_calls(first) if timed else ()
    return Startup(0.0, warm - begin, time.monotonic() - warm, bare)


def _warm_steps(runner: StepRunner, first: ImageRequest) -> Startup:
    begin = time.monotonic()
    runner.usual_work = first.work
    (picture,) = runner.warm_up(first)
    require_picture(picture)
    runner.check.warm_up(picture)
    warm = time.monotonic()
    runner.time_steps(first, runner.pipeline.batch_sizes)
    runner.make_other_steps(first, runner.pipeline.batch_sizes)
    runner.time_decoding(runner.pipeline.batch_sizes)
    return Startup(
        0.0, warm - begin, time.monotonic() - warm, runner.bare_calls(first), runner.curve
    )


def _warmed(runner: Runner, begin: float, warm_up: Callable[[], Startup]) -> Runner:
    loaded = time.monotonic()
    try:
        startup = warm_up()
    except StartupError:
        raise
    except Exception as error:
        log.error("the warm-up image failed", extra=failure_fields(error))  # noqa: TRY400
        raise failed_start(error) from error
    runner.startup = replace(startup, load_seconds=loaded - begin)
    log.info(
        "the model is loaded and warm",
        extra={
            "load_seconds": round(runner.startup.load_seconds, 2),
            "warm_up_seconds": round(runner.startup.warm_up_seconds, 2),
            "device": runner.pipeline.device,
            "dtype": runner.pipeline.dtype,
        },
    )
    return runner
