"""Checks what the engine does when the device's memory runs out, which happens on purpose."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from diffusion_serving.engine import Engine
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.memory_limit import FIRST_PATIENCE
from diffusion_serving.gpu_check.lines import Line, judged
from diffusion_serving.gpu_check.setting import REQUEST_SECONDS, Setting, stepping

_ROWS = 2
"""The rows of the U-Net for one guided image."""


def check_shortage(
    setting: Setting, engine: Engine, usual: ImageRequest, unet: Any
) -> Iterator[Line]:
    """Yields whether a shortage fails nobody, and is forgotten after it has passed.

    Args:
        setting: the setting.
        engine: a ready engine, which does nothing else meanwhile.
        usual: a request of one image.
        unet: the model's U-Net, which pretends the shortage on a CPU.

    """
    runner = stepping(engine)
    limits = (runner.denoising_memory, runner.decoding_memory)
    full = replace(usual, seeds=tuple(range(setting.images)))
    if setting.on_gpu:
        shortage, how = _less_memory(engine, usual, full), "torch's share of the memory was cut"
    else:
        shortage, how = _pretended(unet), "pretended by the U-Net"
    with shortage:
        result = engine.submit(full).future.result(REQUEST_SECONDS)
        least = min(limit.pixels for limit in limits)
    yield judged(
        "out of memory",
        f"{len(result.pictures)} of {setting.images} images came; {how}",
        holds=len(result.pictures) == setting.images and least < math.inf,
        otherwise="memory never ran out",
    )
    requests = 0
    # Each request makes calls close to the limit, so by then even one call in each is enough.
    while min(limit.pixels for limit in limits) < math.inf and requests < FIRST_PATIENCE:
        engine.submit(full).future.result(REQUEST_SECONDS)
        requests += 1
    yield judged(
        "memory that is back",
        f"in full use again after {requests} requests of {setting.images} images",
        holds=all(math.isinf(limit.pixels) for limit in limits),
        otherwise=f"a call is still limited to {min(limit.pixels for limit in limits)} pixels",
    )


@contextmanager
def _less_memory(engine: Engine, one: ImageRequest, full: ImageRequest) -> Iterator[None]:
    """Leaves torch half of the memory that a full request takes beyond a request of one image."""
    least, most = (_peak(engine, request) for request in (one, full))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((least + most) / 2 / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _peak(engine: Engine, request: ImageRequest) -> int:
    """Returns the most bytes that torch holds while a request is made."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    engine.submit(request).future.result(REQUEST_SECONDS)
    return torch.cuda.max_memory_reserved()


@contextmanager
def _pretended(unet: Any) -> Iterator[None]:
    """Makes the U-Net fail, as without memory, for more than one guided image."""

    def refuse(_: Any, arguments: tuple[Any, ...]) -> None:
        if len(arguments[0]) > _ROWS:
            raise torch.OutOfMemoryError("a shortage on purpose")

    hook = unet.register_forward_pre_hook(refuse)
    try:
        yield
    finally:
        hook.remove()
