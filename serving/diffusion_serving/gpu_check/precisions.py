"""Checks that the model draws the same in each precision."""

import gc
import statistics
import time
from collections.abc import Iterator, Sequence

from diffusion_serving.compare_precision.image_difference import Measurement, difference, measure
from diffusion_serving.engine.failures import require_picture
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.gpu_check.lines import Line, judged, skipped
from diffusion_serving.gpu_check.setting import Setting

PROMPTS = ("a red circle on a blue background", "a photograph of a mountain lake at dawn")
PRECISIONS = ("float32", "bfloat16", "float16")
SHARE = 0.1
"""The mean difference that may be, as a share of the reference's contrast. On a CPU bfloat16 and
float32 differ by 0.02, with `sd14` at 256 by 256 pixels as with `tiny`; pictures that have nothing
to do with each other differ by 1.13, if their values are normally distributed."""
_LEVEL = 1 / 255
"""A pixel's finest step, by which rounding alone may change it."""


def check_precisions(setting: Setting) -> Iterator[Line]:
    """Yields a line for each precision, and one for its difference from float32."""
    reference: Measurement | None = None
    for precision in PRECISIONS:
        if precision == "float16" and not setting.on_gpu:
            yield skipped(f"load in {precision}", "float16 needs a GPU")
            continue
        begin = time.monotonic()
        measured = measure(setting.config(precision), PROMPTS, 1)
        gc.collect()  # one model at a time in the device's memory
        seconds = time.monotonic() - begin
        for picture in measured.pictures:
            require_picture(picture)
        yield judged(
            f"load in {precision}",
            f"{measured.seconds:.3f} s an image; {seconds:.1f} s with the load and all images",
            holds=measured.dtype == precision,
            otherwise=f"the model is in {measured.dtype}",
        )
        if reference is None:
            reference = measured
        else:
            yield same_images(f"{precision} against float32", measured.pictures, reference.pictures)


def same_images(check: str, pictures: Sequence[Picture], references: Sequence[Picture]) -> Line:
    """Returns a line on whether pictures differ by rounding alone."""
    apart = difference(pictures, references)
    contrast = statistics.fmean(map(_contrast, references))
    allowed = SHARE * contrast + _LEVEL / 2
    return judged(
        check,
        f"mean difference {apart.mean:.5f} of 1, PSNR {apart.psnr:.1f} dB, contrast {contrast:.3f}",
        holds=apart.mean <= allowed,
        otherwise=f"the pictures differ by more than {allowed:.5f}",
    )


def _contrast(picture: Picture) -> float:
    return statistics.pstdev(picture.rgb) * _LEVEL
