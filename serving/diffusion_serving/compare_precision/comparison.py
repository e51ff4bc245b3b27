"""The cost and gain of a lower precision: the same images generated with it and in float32.

`python -m diffusion_serving.compare_precision --model DIR --precision bfloat16` prints how far the
pixels are apart and how long an image takes in each. Run the command on the device that will serve.
"""

import argparse
import gc
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OutOfMemory, Picture
from diffusion_serving.engine_process.startup import load_model, warm_up_of
from diffusion_serving.observability.startup_errors import StartupError
from diffusion_serving.settings import read_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROMPTS = ("a red circle on a blue background", "a photograph of a mountain lake at dawn")
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion_serving.compare_precision",
        description="Compares the images and the time of a precision with those of float32. Other "
        "flags, such as --device or --config, are those of python -m diffusion_serving.",
    )
    parser.add_argument("--precision", required=True, choices=("float16", "bfloat16"))
    parser.add_argument("--prompt", action="append", help="can be repeated; has a default")
    parser.add_argument("--images", type=int, default=4, help="of each prompt; default 4")
    return parser


def main(argv: Sequence[str]) -> int:
    flags, others = _parser().parse_known_args(argv)
    prompts = flags.prompt or PROMPTS
    measurements = []
    try:
        for precision in ("float32", flags.precision):
            settings = read_settings([*others, "--precision", precision], os.environ)
            measurements.append(measure(settings.config, prompts, flags.images))
            gc.collect()  # one model at a time in the device's memory
    except StartupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OutOfMemory as error:
        print(
            f"error: the device's memory is too small ({error}); a server that runs on it has "
            "most of it: compare where none does",
            file=sys.stderr,
        )
        return 1
    reference, other = measurements
    apart = difference(other.pictures, reference.pictures)
    print(f"{len(other.pictures)} images on {other.device}, pixels from 0 to 1")
    for each in measurements:
        print(f"{each.dtype:9} {each.seconds:8.3f} s an image")
    print(f"speed-up  {reference.seconds / other.seconds:8.2f} times")
    print(
        f"largest difference {apart.largest:.4f}, mean {apart.mean:.5f}, PSNR {apart.psnr:.1f} dB"
    )
    return 0
