"""All checks in their order, each with the model loaded as a server does it."""

import gc
import platform
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.gpu_check import loads
from diffusion_serving.gpu_check.compiled import Plain, check_compilation
from diffusion_serving.gpu_check.engine_start import (
    check_curve,
    check_shared_steps,
    mixed_requests,
)
from diffusion_serving.gpu_check.lines import Line, passed
from diffusion_serving.gpu_check.meters import check_meters
from diffusion_serving.gpu_check.precisions import check_precisions
from diffusion_serving.gpu_check.random_model import save_random_model
from diffusion_serving.gpu_check.setting import (
    Setting,
    loaded,
    started,
    stepping,
    usual_request,
)
from diffusion_serving.gpu_check.shortage import check_shortage

Take = Callable[[str, Callable[[], Iterator[Line]]], bool]
"""`take(check, lines)`: adds a check's lines to the table; False if it did not come to its end."""

_GIB = 2**30


def check_device(setting: Setting) -> Iterator[Line]:
    """Yields the device's name and memory, and the versions of torch and CUDA."""
    if not setting.on_gpu:
        name = platform.processor() or platform.machine()
        figure = f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        yield passed("device", f"CPU: {figure}")
        return
    torch.cuda.init()  # type: ignore[no-untyped-call] # torch has no annotation for it
    device = torch.cuda.get_device_properties(0)
    memory = f"{device.total_memory / _GIB:.0f} GiB"
    software = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    capability = f"compute capability {device.major}.{device.minor}"
    yield passed("device", f"{device.name}, {memory}, {capability}, {software}")


def make_model(setting: Setting, size: str) -> Iterator[Line]:
    """Makes the random model."""
    begin = time.monotonic()
    save_random_model(setting.model, size)
    stored = sum(file.stat().st_size for file in setting.model.rglob("*") if file.is_file())
    seconds = time.monotonic() - begin
    yield passed("model", f"{size}, random weights, {stored / _GIB:.2f} GiB, {seconds:.0f} s")


def check_all(setting: Setting, take: Take) -> None:
    """Runs the checks, each of which may fail alone."""
    take("precisions", lambda: check_precisions(setting))
    take("engine", lambda: _check_engine(setting, take))


def _check_engine(setting: Setting, take: Take) -> Iterator[Line]:
    plain = yield from _check_plain(setting, take)
    gc.collect()  # one model at a time in the device's memory
    take("compile", lambda: check_compilation(setting, plain))


def _check_plain(setting: Setting, take: Take) -> Generator[Line, None, Plain]:
    """Loads the model once for all engines that make its images, one engine after the other."""
    config = setting.config()
    pipeline = loaded(config)
    begin = time.monotonic()
    usual = usual_request(config, pipeline)
    mixed = mixed_requests(usual)
    alone = [pipeline([request]).pictures[0][0] for request in mixed]
    with started(config, lambda: pipeline) as engine:
        curve = stepping(engine).curve
        requests = loads.arrivals(usual, curve, setting)
        yield from check_curve(setting, engine)
        yield from check_shared_steps(engine, mixed, alone)
        by_steps = loads.load(engine, usual, requests, setting.images)
        yield from check_meters(setting, pipeline, time.monotonic() - begin)
        take("out of memory", lambda: check_shortage(setting, engine, usual, _unet(pipeline)))
    with started(config, lambda: loads.without_steps(pipeline)) as engine:
        by_calls = loads.load(engine, usual, requests, setting.images)
    yield from loads.compare(setting, by_steps, by_calls)
    return Plain(curve, mixed, alone)


def _unet(pipeline: Pipeline) -> Any:
    # No interface of the engine's shows a model's parts, and only a part can run out of memory.
    return pipeline._pipe.unet  # type: ignore[attr-defined] # noqa: SLF001
