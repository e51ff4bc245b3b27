"""Command that compares the images and the time of a precision with those of float32.

`python -m diffusion_serving.compare_precision --model DIR --precision bfloat16` prints how far the
pixels are apart and how long an image takes in each. Run the command on the device that will serve.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence

from diffusion_serving.compare_precision.image_difference import difference, measure
from diffusion_serving.engine.pipeline_interface import OutOfMemory
from diffusion_serving.observability.startup_errors import StartupError
from diffusion_serving.settings import read_settings

PROMPTS = ("a red circle on a blue background", "a photograph of a mountain lake at dawn")


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
        # Both are checked before the minutes that the first takes.
        both = [
            read_settings([*others, "--precision", precision], os.environ).config
            for precision in ("float32", flags.precision)
        ]
        for config in both:
            measurements.append(measure(config, prompts, flags.images))
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
