"""The difference and the time of images: the same images with two configurations."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.engine_process.startup import load_model, warm_up_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = 255


@dataclass(frozen=True)
class Measurement:
    """The pictures of one precision, and the median seconds that one took."""

    dtype: str
    device: str
    pictures: Sequence[Picture]
    seconds: float


@dataclass(frozen=True)
class Difference:
    """The distance of pixels, of 1; and the peak signal to noise ratio in dB."""

    largest: float
    mean: float
    psnr: float


def measure(config: ServingConfig, prompts: Sequence[str], images: int) -> Measurement:
    """Generates images with a configuration's defaults, one at a time, with seeds 0, 1, ….

    Raises:
        StartupError: the model cannot be loaded like this.

    """
    pipeline = load_model(config, 0)
    defaults = warm_up_of(config, pipeline)
    pipeline([defaults])
    pictures, seconds = [], []
    for prompt in prompts:
        for seed in range(images):
            begin = time.monotonic()
            output = pipeline([_request(defaults, prompt, seed)])
            seconds.append(time.monotonic() - begin)
            pictures.append(output.pictures[0][0])
    return Measurement(pipeline.dtype, pipeline.device, pictures, statistics.median(seconds))


def difference(pictures: Sequence[Picture], references: Sequence[Picture]) -> Difference:
    """Compares all pixels of all pictures, which are as many and as large as the references."""
    import numpy as np  # noqa: PLC0415 - this module's help must not wait for it

    errors = np.concatenate(
        [_levels(a) - _levels(b) for a, b in zip(pictures, references, strict=True)]
    )
    error = float(np.square(errors).mean())
    psnr = math.inf if error == 0 else -10 * math.log10(error)
    return Difference(float(np.abs(errors).max()), float(np.abs(errors).mean()), psnr)


def _levels(picture: Picture) -> "NDArray[np.float64]":
    import numpy as np  # noqa: PLC0415 - same

    return np.frombuffer(picture.rgb, np.uint8) / LEVELS


def _request(like: ImageRequest, prompt: str, seed: int) -> ImageRequest:
    return ImageRequest(
        prompt, "", like.steps, like.guidance_scale, like.width, like.height, (seed,)
    )
