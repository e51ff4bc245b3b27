"""The pipeline of the peers: diffusers' own, called as its documentation shows, or a stand-in."""

import base64
import io
import os
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from PIL import Image

STEPS, GUIDANCE, SIDE, BATCH = 4, 7.5, 128, 8

Draw = Callable[[list[str], list[int]], list[Any]]


def load(model: str, stand_in: float | None) -> Draw:
    """A function from a batch of prompts and seeds to pictures."""
    if stand_in is not None:
        return lambda prompts, _: _noise(len(prompts), stand_in)
    import torch  # noqa: PLC0415 - takes seconds, and the stand-in needs no torch

    diffusers: Any = import_module("diffusers")  # diffusers is typed in part only
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)

    def draw(prompts: list[str], seeds: list[int]) -> list[Any]:
        images: list[Any] = pipeline(
            prompts,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        ).images
        return images

    return draw


def _noise(count: int, seconds: float) -> list[Any]:
    time.sleep(seconds * -(-count // BATCH))
    return [Image.frombytes("RGB", (SIDE, SIDE), os.urandom(3 * SIDE * SIDE)) for _ in range(count)]


def answer(image: Any) -> dict[str, str]:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return {"image": base64.b64encode(buffer.getvalue()).decode()}
