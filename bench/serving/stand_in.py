"""A pipeline of fixed cost per batch, which shows the cost of the program around it.

The stand-in sleeps and returns noise: at 128 by 128 pixels a PNG of some 50 KB, which no encoder
makes smaller.
"""

import os
import time
from collections.abc import Sequence

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, Checker, OnStep, Picture
from serving.prompts import SIDE

BATCH = 8


class NoDevice:
    """The facts of a stand-in's device, as the engine asks its pipelines for them."""

    device = "cpu"
    device_name = "stand-in"
    dtype = "float32"
    native_size = (SIDE, SIDE)
    device_memory_bytes = None
    device_use = None
    checker: Checker | None = None
    batch_sizes = ()


class StandIn(NoDevice):
    """A pipeline of the engine that takes `seconds` for up to `BATCH` images."""

    stepwise = None

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        images = sum(generation.images for generation in batch)
        time.sleep(self._seconds * -(-images // BATCH))
        if on_step is not None:
            on_step(batch[0].steps, batch[0].steps)
        return BatchOutput(
            pictures=[[noise(g.width, g.height) for _ in g.seeds] for g in batch],
            seconds={"text_encoder": 0.0, "denoise": self._seconds, "vae": 0.0},
        )


def noise(width: int, height: int) -> Picture:
    return Picture(width, height, os.urandom(3 * width * height))


def load(seconds: float, _: ServingConfig, __: int) -> StandIn:
    """A `startup.Load`, once its first argument is bound."""
    return StandIn(seconds)
