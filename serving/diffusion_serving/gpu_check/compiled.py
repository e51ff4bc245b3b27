"""Checks a compiled model: its speed, its images, and that nothing compiles under load."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch._dynamo import utils as dynamo

from diffusion_serving.engine.cost_curve import CostCurve
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.gpu_check.engine_start import check_shared_steps
from diffusion_serving.gpu_check.lines import Line, judged, skipped
from diffusion_serving.gpu_check.setting import (
    REQUEST_SECONDS,
    Setting,
    loaded,
    started,
    stepping,
    usual_request,
)
from diffusion_serving.observability.startup_errors import ModelLoadFailed
from diffusion_serving.pipeline.tuning import check_compiler

_IMAGES = 2
"""The most images in a step: each size takes a minute to compile."""


@dataclass(frozen=True)
class Plain:
    """The model that isn't compiled: its cost, and the pictures of requests made alone."""

    curve: CostCurve
    requests: Sequence[ImageRequest]
    pictures: Sequence[Picture]


def check_compilation(setting: Setting, plain: Plain) -> Iterator[Line]:
    """Yields the figures of a compiled model, against those of the same model uncompiled."""
    if setting.compile == "none":
        yield skipped("compile", "a CPU compiles for minutes; --compile regional does so anyway")
        return
    config = setting.config(compile=setting.compile, batching={"maxSize": _IMAGES})
    try:
        check_compiler(config)
    except ModelLoadFailed as error:
        yield skipped("compile", str(error))
        return
    pipeline = loaded(config)
    with started(config, lambda: pipeline) as engine:
        runner = stepping(engine)
        step, own = (each.step_seconds(each.reference) for each in (plain.curve, runner.curve))
        figure = (
            f"{setting.compile}: ready in {runner.startup.warm_up_seconds:.0f} + "
            f"{runner.startup.timing_seconds:.0f} s; a step {1000 * own:.1f} ms, "
            f"{own / step:.2f} of before"
        )
        if setting.on_gpu:
            yield judged("compile", figure, holds=own <= step, otherwise="steps are slower")
        else:
            yield skipped("compile", "speed has a verdict on a GPU alone", figure)
        before = _compiled()
        yield from check_shared_steps(engine, plain.requests, plain.pictures)
        several = replace(usual_request(config, pipeline), seeds=tuple(range(_IMAGES)))
        engine.submit(several).future.result(REQUEST_SECONDS)
        yield judged(
            "compilation under load",
            f"{_compiled() - before} new compiled forms",
            holds=_compiled() == before,
            otherwise="a client's request waits for the compiler",
        )


def _compiled() -> int:
    return int(dynamo.counters["stats"]["unique_graphs"])
