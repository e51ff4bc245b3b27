"""Checks the engine's start: its cost curve, and images made in steps that requests share."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from diffusion_serving.engine import Engine
from diffusion_serving.engine.cost_curve import CostCurve
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.gpu_check.lines import Line, judged, passed, skipped
from diffusion_serving.gpu_check.precisions import same_images
from diffusion_serving.gpu_check.setting import REQUEST_SECONDS, Setting, stepping

_DEAR = 1.2
"""The most that a step of several images may cost, as a multiple of as many steps of one."""


def check_curve(setting: Setting, engine: Engine) -> Iterator[Line]:
    """Yields the time of the start, and the measured seconds of a step by its images."""
    runner = stepping(engine)
    startup, curve = runner.startup, runner.curve
    seconds = (startup.load_seconds, startup.warm_up_seconds, startup.timing_seconds)
    yield passed("start", "load {:.1f} s, first image {:.1f} s, timing {:.1f} s".format(*seconds))
    timed = {int(images): seconds for images, seconds in curve.points}
    yield judged(
        "cost curve: images, step",
        ", ".join(f"{images}: {1000 * taken:.1f} ms" for images, taken in timed.items()),
        holds=max(timed) == setting.images and min(timed.values()) > 0,
        otherwise=f"a step of {setting.images} images was not timed",
    )
    yield _most_in_a_step(setting, curve)


def mixed_requests(like: ImageRequest) -> list[ImageRequest]:
    """Returns requests whose steps, guidance, seeds and texts all differ."""
    return [
        replace(like, prompt=f"picture {place}", steps=steps, guidance_scale=scale, seeds=(place,))
        for place, (steps, scale) in enumerate([(2, 1.0), (3, 7.5), (4, 2.0), (6, 5.0), (5, 1.0)])
    ]


def check_shared_steps(
    engine: Engine, requests: Sequence[ImageRequest], alone: Sequence[Picture]
) -> Iterator[Line]:
    """Yields whether requests that share steps get the images that each gets alone."""
    waiting = [engine.submit(request) for request in requests]
    pictures = [each.future.result(REQUEST_SECONDS).pictures[0] for each in waiting]
    yield same_images("shared steps against calls alone", pictures, alone)


def _most_in_a_step(setting: Setting, curve: CostCurve) -> Line:
    size = curve.size(setting.images, setting.images, curve.reference)
    one, several = (curve.step_seconds(images * curve.reference) for images in (1, setting.images))
    figure = (
        f"{size} of {setting.images} that wait share a step; {setting.images} cost "
        f"{several / one:.2f} times one"
    )
    if not setting.on_gpu:
        return skipped("images in a step", "speed has a verdict on a GPU alone", figure)
    return judged(
        "images in a step",
        figure,
        holds=several <= _DEAR * setting.images * one,
        otherwise=f"{setting.images} steps of one image are faster",
    )
