"""Checks the GPU's meters, which NVIDIA's driver reads."""

from collections.abc import Iterator

import torch

from diffusion_serving.engine.pipeline_interface import Pipeline
from diffusion_serving.gpu_check.lines import Line, judged, skipped
from diffusion_serving.gpu_check.setting import Setting
from diffusion_serving.observability.nvml import NvmlError, gpu_of
from diffusion_serving.pipeline.model import uuid_of

_GIB = 2**30
_JOULES = "energy (NVML)"
_BUSY = "busy time (NVML)"
_MEMORY = "memory (NVML)"
_NO_METER = "NVML has no such meter for this GPU, or for a part of one"
_AHEAD = 1.1
"""The busy time may be ahead of the clock by the length of one sample."""


def check_meters(setting: Setting, pipeline: Pipeline, seconds: float) -> Iterator[Line]:
    """Yields energy, busy time and memory since the model was loaded `seconds` ago."""
    if not setting.on_gpu:
        for check in (_JOULES, _BUSY, _MEMORY):
            yield skipped(check, "a CPU has no NVML")
        return
    use = pipeline.device_use
    if use is None or use.joules is None:
        yield skipped(_JOULES, _NO_METER)
    else:
        figure = f"{use.joules:.0f} J in {seconds:.0f} s, {use.joules / seconds:.0f} W"
        yield judged(_JOULES, figure, holds=use.joules > 0, otherwise="the meter stands still")
    if use is None or use.busy_seconds is None:
        yield skipped(_BUSY, _NO_METER)
    else:
        yield judged(
            _BUSY,
            f"{use.busy_seconds:.0f} s of {seconds:.0f} s",
            holds=0 < use.busy_seconds <= _AHEAD * seconds,
            otherwise="the meter stands still, or is ahead of the clock",
        )
    yield _memory(pipeline)


def _memory(pipeline: Pipeline) -> Line:
    gpu = gpu_of(uuid_of(torch.device("cuda", 0)))
    if gpu is None:
        return skipped(_MEMORY, "NVML knows no such GPU")
    try:
        used = gpu.memory_bytes()
    except NvmlError as error:
        return skipped(_MEMORY, f"{_NO_METER}: {error}")
    held = pipeline.device_memory_bytes or 0
    return judged(
        _MEMORY,
        f"{used / _GIB:.1f} GiB in use, {held / _GIB:.1f} GiB of it torch's",
        holds=0 < held <= used,
        otherwise="NVML counts less than torch holds",
    )
