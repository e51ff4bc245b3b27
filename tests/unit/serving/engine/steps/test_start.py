"""The start of an engine that schedules steps: what is timed and compiled before it is ready."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from diffusion_serving.engine import step_runner
from diffusion_serving.engine.pipeline_interface import ImageState
from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.observability.startup_errors import ModelLoadFailed
from stepping import SteppedPipeline, image_request, occupy, results


def test_each_size_that_costs_time_when_first_used_is_decoded_before_ready(
    build: Any, stepped: SteppedPipeline
) -> None:
    engine = build(max_images=16)
    stepped.batch_sizes = (1, 2, 4, 16)
    sizes: list[int] = []
    real = stepped.decode

    def decode(images: Sequence[ImageState]) -> Any:
        sizes.append(len(images))
        return real(images)

    stepped.decode = decode  # type: ignore[method-assign] # counts the warm-up too
    engine.start()
    assert [images for images, _ in engine.ready.result(10).curve.decoding] == [1, 2, 4]
    assert sizes == [1, 1, 1, 2, 2, 4, 4]


def test_a_decoding_that_memory_refuses_at_the_start_is_not_tried_again(
    make: Any, stepped: SteppedPipeline
) -> None:
    stepped.batch_sizes = (1, 2, 4, 8)
    stepped.memory["decode"] = 5
    engine = make()
    assert results(engine.submit(image_request("x", *range(8)))) == [list(range(8))]
    assert [len(images) for images in stepped.decoded] == [4, 4]


@pytest.mark.parametrize("scale", [2.0, 1.0])
@pytest.mark.parametrize(
    ("sizes", "rows"), [((1, 2, 4), {1, 2, 4, 8}), ((1, 2, 4, 6), {1, 2, 4, 6, 8, 12})]
)
def test_each_number_of_rows_that_costs_time_when_first_used_makes_a_step_before_ready(
    build: Any,
    stepped: SteppedPipeline,
    scale: float,
    sizes: tuple[int, ...],
    rows: set[int],
) -> None:
    engine = build(max_images=sizes[-1], guidance_scale=scale)
    stepped.batch_sizes = sizes
    seen: set[int] = set()
    real = stepped.step

    def step(images: Sequence[Any]) -> None:
        seen.add(sum(2 if image.request.guidance_scale > 1 else 1 for image in images))
        real(images)

    stepped.step = step  # type: ignore[method-assign] # counts the warm-up too
    engine.start()
    engine.ready.result(10)
    assert seen == rows


def test_each_size_makes_a_step_before_ready_and_the_curve_has_it(
    build: Any, stepped: SteppedPipeline
) -> None:
    engine = build(max_images=6)
    sizes: list[int] = []
    real = stepped.step

    def step(images: Sequence[ImageState]) -> None:
        sizes.append(len(images))
        real(images)

    stepped.step = step  # type: ignore[method-assign] # counts the warm-up too
    engine.start()
    curve = engine.ready.result(10).curve
    assert [images for images, _ in curve.points] == [1, 2, 4, 6]
    assert sizes == [*[1] * 4, 1, 1, 2, 2, 4, 4, 6, 6]


@pytest.mark.parametrize(("each", "largest"), [(0.0, 64), (1.0, 8)], ids=["fixed", "linear"])
def test_larger_steps_are_timed_as_long_as_they_would_finish_a_queue_sooner(
    build: Any, monkeypatch: pytest.MonkeyPatch, each: float, largest: int
) -> None:
    def timed(_: StepRunner, call: Any, states: Sequence[ImageState]) -> float:
        call(states)
        return 1.0 + each * (len(states) - 1)

    monkeypatch.setattr(StepRunner, "_timed", timed)
    monkeypatch.setattr(step_runner, "TIMING_SECONDS", 1e9)
    engine = build(max_images=64)
    engine.start()
    curve = engine.ready.result(10).curve
    assert [images for images, _ in curve.points] == [
        2**each for each in range(7) if 2**each <= largest
    ]


def test_a_size_that_memory_refuses_at_the_start_is_not_tried_again(
    make: Any, stepped: SteppedPipeline
) -> None:
    stepped.memory["step"] = 5
    engine = make()
    assert results(engine.submit(image_request("x", *range(8)))) == [list(range(8))]
    assert max(map(len, stepped.steps)) == 4


def test_a_warm_up_image_of_one_colour_is_a_failed_start(
    build: Any, stepped: SteppedPipeline
) -> None:
    stepped.decode = lambda images: [  # type: ignore[method-assign]
        replace(picture, rgb=bytes(len(picture.rgb)))
        for picture in SteppedPipeline.decode(stepped, images)
    ]
    engine = build()
    engine.start()
    error = engine.ready.exception(10)
    assert isinstance(error, ModelLoadFailed)
    assert "one colour alone" in str(error)


def test_stop_finishes_what_runs_and_what_waits(make: Any, stepped: SteppedPipeline) -> None:
    engine = make(max_images=1)
    requests = [occupy(engine, stepped), *(engine.submit(image_request("x")) for _ in range(3))]
    assert not engine.stop(0.01)
    stepped.release()
    assert engine.stop(10)
    assert results(*requests) == [[0]] * 4


def test_the_first_request_waits_for_others_as_long_as_it_may(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make(max_images=2, max_wait=600.0)
    first = engine.submit(image_request("a"))
    assert not stepped.entered.acquire(timeout=0.05)
    second = engine.submit(image_request("b"))
    results(first, second)
    assert stepped.steps == [["a", "b"]] * 4
