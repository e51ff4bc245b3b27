"""A stand-in for ``diffusion_serving.pipeline``: the real serving program without torch.

The stand-in sleeps instead of computing. Pods and processes that need no real picture start in
about a second with it, and leave the CPU to others. A picture depends on prompt, seed and settings
alone, as a real one does. The stand-in refuses whatever the real package refuses: a damaged model,
a missing LoRA, a missing device.

``STANDIN_STEP_SECONDS`` is the time of a step, ``STANDIN_BATCH_SECONDS`` the time of a batch beside
its steps, and ``STANDIN_LOAD_SECONDS`` the time of loading. With ``STANDIN_WAY=steps`` the stand-in
has a step loop, as Stable Diffusion has; without, it is a family that makes whole calls, so that
one slow request keeps the engine from all others. A prompt with ``INDECENT`` in it gives a red
picture, which the stand-in's safety checker blocks wherever the service has a checker.
"""

import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, ImageState, OnStep, Picture
from diffusion_serving.fetch.checker_files import CheckerFiles, find_checker
from diffusion_serving.fetch.model_files import ModelFiles, find_lora
from diffusion_serving.observability.startup_errors import WrongDevice

BATCH_SECONDS = 0.004
STEP_SECONDS = 0.002
CHECK_SECONDS = 0.001
INDECENT = "indecent"
_RED = 200
"""The mean of a picture's red channel, of 255, above which it is blocked."""
_BLOCK = 8
"""The side of the squares that a picture consists of; every encoder packs them quickly."""


@dataclass(eq=False)
class _Image:
    """An image between its text and its pixels."""

    request: ImageRequest
    seed: int
    steps_left: int

    @property
    def pixels(self) -> int:
        return self.request.pixels


def _own(images: Sequence[ImageState]) -> list[_Image]:
    return [image for image in images if isinstance(image, _Image)]


class Checker:
    """A safety checker that blocks red pictures."""

    def __init__(self, files: CheckerFiles) -> None:
        self.name = files.name

    def __call__(self, pictures: Sequence[Picture]) -> list[bool]:
        time.sleep(CHECK_SECONDS)
        return [
            sum(picture.rgb[::3]) > _RED * picture.width * picture.height for picture in pictures
        ]


class StandIn:
    """A pipeline that takes the same time for a batch of any size."""

    device = "cpu"
    device_name = "stand-in"
    device_memory_bytes = None
    device_use = None
    batch_sizes = ()

    def __init__(
        self, native_size: tuple[int, int], dtype: str, checker: Checker | None = None
    ) -> None:
        self.checker = checker
        self.native_size = native_size
        self.dtype = dtype
        self._batch_seconds = _seconds("STANDIN_BATCH_SECONDS", BATCH_SECONDS)
        self._step_seconds = _seconds("STANDIN_STEP_SECONDS", STEP_SECONDS)
        self.stepwise = self if os.environ.get("STANDIN_WAY") == "steps" else None

    def begin(self, requests: Sequence[ImageRequest]) -> list[list[_Image]]:
        if any(request.step_key != requests[0].step_key for request in requests):
            raise ValueError("requests share one step key")
        time.sleep(self._batch_seconds / 2)
        return [[_Image(one, seed, one.steps) for seed in one.seeds] for one in requests]

    def step(self, images: Sequence[ImageState]) -> None:
        time.sleep(self._step_seconds)
        for image in _own(images):
            image.steps_left -= 1

    def decode(self, images: Sequence[ImageState]) -> list[Picture]:
        time.sleep(self._batch_seconds / 2)
        return [_picture(image.request, image.seed) for image in _own(images)]

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
    """Makes the checks of the real package, and loads nothing.

    Raises:
        WrongDevice: the device is a GPU; the stand-in never sees one.
        ModelLoadFailed: a LoRA or the safety checker is missing.

    """
    if config.device != "cpu":
        raise WrongDevice(
            f"The service asks for the device {config.device}, but this process sees no CUDA "
            f"device number {device_index}. Give the pod a GPU and its node a driver, or set the "
            "device to cpu."
        )
    for lora in config.model.loras:
        find_lora(lora.name, lora.path)
    checker = find_checker(files.path, *config.safety.choice)
    time.sleep(_seconds("STANDIN_LOAD_SECONDS", 0.0))
    checks = Checker(checker) if checker else None
    return StandIn(_native_size(files.path), config.precision, checks)


def _native_size(model: Path) -> tuple[int, int]:
    """Width and height that the model was trained for, as the real package has them."""
    unet, vae = (json.loads((model / part / "config.json").read_text()) for part in ("unet", "vae"))
    size = unet["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    return width * factor, height * factor


def _picture(one: ImageRequest, seed: int) -> Picture:
    """Squares whose colours depend on the whole request."""
    colours = random.Random(repr((one.prompt, one.negative_prompt, *one.key, seed)))
    red = b"\xff" if INDECENT in one.prompt else b""
    rows = [
        b"".join((red + colours.randbytes(3))[:3] * _BLOCK for _ in range(one.width // _BLOCK))
        * _BLOCK
        for _ in range(one.height // _BLOCK)
    ]
    return Picture(one.width, one.height, b"".join(rows))


def _seconds(name: str, default: float) -> float:
    return float(os.environ.get(name, default))
