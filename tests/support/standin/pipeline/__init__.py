"""A stand-in for ``diffusion_serving.pipeline``: the real serving program without torch.

It sleeps instead of computing, so that pods and processes whose subject isn't a picture start in
about a second and leave the processor to others. Its pictures follow from prompt, seed and
settings alone, as the real ones do. What the real package refuses, it refuses: a damaged model, a
LoRA that isn't there, a device that isn't there.

``STANDIN_BATCH_SECONDS`` and ``STANDIN_STEP_SECONDS`` say how long a batch takes beside its steps,
and a step; ``STANDIN_LOAD_SECONDS`` how long loading takes.
"""

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, OnStep, Picture
from diffusion_serving.fetch.model_files import ModelFiles, find_lora
from diffusion_serving.observability.startup_errors import WrongDevice

BATCH_SECONDS = 0.004
STEP_SECONDS = 0.002
_BLOCK = 8
"""Pictures are made of squares this wide, which every encoder packs quickly."""


class StandIn:
    """A pipeline of the engine that takes the same time for a batch of any size."""

    device = "cpu"
    device_name = "stand-in"
    device_memory_bytes = None
    device_use = None
    batch_sizes = ()

    def __init__(self, native_size: tuple[int, int], dtype: str) -> None:
        self.native_size = native_size
        self.dtype = dtype
        self._batch_seconds = _seconds("STANDIN_BATCH_SECONDS", BATCH_SECONDS)
        self._step_seconds = _seconds("STANDIN_STEP_SECONDS", STEP_SECONDS)

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        if any(request.key != batch[0].key for request in batch):
            raise ValueError("a batch shares one batch key")
        begin = time.monotonic()
        time.sleep(self._batch_seconds / 2)
        encoded = time.monotonic()
        steps = batch[0].steps
        for step in range(1, steps + 1):
            time.sleep(self._step_seconds)
            if on_step is not None:
                on_step(step, steps)
        denoised = time.monotonic()
        time.sleep(self._batch_seconds / 2)
        pictures = [[_picture(one, seed) for seed in one.seeds] for one in batch]
        return BatchOutput(
            pictures=pictures,
            seconds={
                "text_encoder": encoded - begin,
                "denoise": denoised - encoded,
                "vae": time.monotonic() - denoised,
            },
        )


def load_pipeline(files: ModelFiles, config: ServingConfig, device_index: int = 0) -> StandIn:
    """Looks at what the real package looks at, and loads nothing.

    Raises:
        WrongDevice: a GPU is asked for; this process sees none, whatever the node has.
        ModelLoadFailed: a LoRA is not there.

    """
    if config.device != "cpu":
        raise WrongDevice(
            f"The service asks for the device {config.device}, but this process sees no CUDA "
            f"device number {device_index}. Give the pod a GPU and its node a driver, or set the "
            "device to cpu."
        )
    for lora in config.model.loras:
        find_lora(lora.name, lora.path)
    time.sleep(_seconds("STANDIN_LOAD_SECONDS", 0.0))
    return StandIn(_native_size(files.path), config.precision)


def _native_size(model: Path) -> tuple[int, int]:
    """Width and height that the model was trained for, as the real package has them."""
    unet, vae = (json.loads((model / part / "config.json").read_text()) for part in ("unet", "vae"))
    size = unet["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    return width * factor, height * factor


def _picture(one: ImageRequest, seed: int) -> Picture:
    """Squares whose colours follow from all that was asked."""
    colours = random.Random(repr((one.prompt, one.negative_prompt, *one.key, seed)))
    rows = [
        b"".join(colours.randbytes(3) * _BLOCK for _ in range(one.width // _BLOCK)) * _BLOCK
        for _ in range(one.height // _BLOCK)
    ]
    return Picture(one.width, one.height, b"".join(rows))


def _seconds(name: str, default: float) -> float:
    return float(os.environ.get(name, default))
