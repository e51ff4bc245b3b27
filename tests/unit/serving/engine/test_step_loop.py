"""The engine on a pipeline with a step loop: joins and leaves, failures, memory, metrics."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from diffusion_serving.engine import Batching, Engine, QueuedRequest, step_schedule
from diffusion_serving.engine.errors import EngineFailed, NotReady
from diffusion_serving.engine.image_request import ImageRequest, LoraUse
from diffusion_serving.engine.pipeline_interface import ImageState, OutOfMemory
from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.observability.metrics import Metrics, make_metrics
from diffusion_serving.observability.startup_errors import DeviceLost, ModelLoadFailed
from stepping import SteppedPipeline


def image_request(prompt: str, *seeds: int, **changes: Any) -> ImageRequest:
    return replace(ImageRequest(prompt, "", 4, 2.0, 64, 64, seeds or (0,)), **changes)


@pytest.fixture
def stepped() -> SteppedPipeline:
    return SteppedPipeline()


@pytest.fixture
def metrics() -> Metrics:
    return make_metrics()


@pytest.fixture
def build(stepped: SteppedPipeline, metrics: Metrics) -> Iterator[Callable[..., Engine]]:
    """Makes engines on the stepped pipeline; the test starts them."""
    engines: list[Engine] = []

    def build(max_images: int = 8, max_queue: int = 1000, max_wait: float = 0.0) -> Engine:
        engine = Engine(
            lambda: stepped,
            lambda _: image_request("warm-up"),
            max_queue=max_queue,
            queue_timeout=60.0,
            metrics=metrics,
            batching=Batching(max_images=max_images, max_wait=max_wait),
        )
        engines.append(engine)
        return engine

    yield build
    stepped.release()
    for engine in engines:
        assert engine.stop(10)


@pytest.fixture
def make(build: Callable[..., Engine]) -> Callable[..., Engine]:
    """Makes an engine that is ready and idle, whose steps cost the same whatever their size."""

    def make(**options: Any) -> Engine:
        engine = build(**options)
        engine.start()
        runner = engine.ready.result(10)
        assert isinstance(runner, StepRunner)
        runner._curve = replace(runner.curve, points=((1, 0.001), (64, 0.001)))
        return engine

    return make


@pytest.fixture
def ageless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders requests by their cost alone, whatever time passes between two lines of a test."""
    monkeypatch.setattr(step_schedule, "AGEING", 0.0)


def results(*requests: QueuedRequest) -> list[list[int]]:
    """The seeds that were painted."""
    return [
        [picture.rgb[-1] for picture in request.future.result(30).pictures] for request in requests
    ]


def occupy(engine: Engine, stepped: SteppedPipeline, **changes: Any) -> QueuedRequest:
    """Keeps the engine in the first step of a request until `release()`."""
    stepped.hold()
    request = engine.submit(image_request("first", **changes))
    assert stepped.entered.acquire(timeout=30)
    return request


def test_a_request_joins_between_two_steps_and_the_finished_one_leaves(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    first = occupy(engine, stepped)
    second = engine.submit(image_request("second", 2))
    stepped.release()
    assert results(first, second) == [[0], [2]]
    assert stepped.steps == [["first"], *[["first", "second"]] * 3, ["second"]]
    assert stepped.decoded == [["first"], ["second"]]


def test_requests_with_other_steps_and_guidance_share_steps(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    first = occupy(engine, stepped)
    others = [
        engine.submit(image_request("other", seed, steps=steps, guidance_scale=guidance))
        for seed, steps, guidance in ((1, 2, 1.0), (2, 3, 7.5), (3, 5, 0.0))
    ]
    stepped.release()
    assert results(first, *others) == [[0], [1], [2], [3]]
    assert [len(step) for step in stepped.steps] == [1, 4, 4, 3, 1, 1]


@pytest.mark.parametrize("changes", [{"width": 72}, {"lora": LoraUse("sketch", 0.5)}])
def test_requests_of_another_size_or_lora_take_turns(
    make: Any, stepped: SteppedPipeline, ageless: None, changes: dict[str, Any]
) -> None:
    engine = make()
    first = occupy(engine, stepped, steps=30)
    other = engine.submit(image_request("other", 1, **changes))
    stepped.release()
    results(first, other)
    assert stepped.steps[1:5] == [["other"]] * 4, "the shorter one goes first, between two steps"


def test_a_short_request_overtakes_a_long_one(
    make: Any, stepped: SteppedPipeline, ageless: None
) -> None:
    engine = make(max_images=1)
    long = occupy(engine, stepped, steps=30)
    short = engine.submit(image_request("short"))
    stepped.release()
    results(long, short)
    assert stepped.steps == [["first"], *[["short"]] * 4, *[["first"]] * 29]


def test_a_request_larger_than_a_step_is_split_over_steps(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make(max_images=2)
    request = engine.submit(image_request("large", *range(5)))
    assert results(request) == [[0, 1, 2, 3, 4]]
    assert max(map(len, stepped.steps)) == 2
    assert len(stepped.steps) == 4 * 3


def test_progress_counts_each_step_of_a_request_once(make: Any) -> None:
    engine = make(max_images=2)
    log: list[tuple[int, int]] = []
    request = engine.submit(image_request("large", *range(5)), lambda *step: log.append(step))
    results(request)
    assert log == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_fifty_clients_that_hang_up_free_the_device_at_the_next_step_and_nothing_is_decoded(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make(max_images=64)
    first = occupy(engine, stepped)
    left = [engine.submit(image_request("left", seed, steps=50)) for seed in range(50)]
    both = threading.Event()

    def hang_up(number: int) -> None:
        if number == 2:
            assert all(engine.cancel(request) for request in left)
            assert not engine.cancel(left[0])
            both.set()

    stepped.on_step = hang_up
    stepped.release()
    results(first)
    assert both.wait(10)
    for request in left:
        assert isinstance(request.future.exception(10), NotReady)
    assert [len(step) for step in stepped.steps] == [1, 51, 51, 1]
    assert stepped.decoded == [["first"]]


def test_stages_of_a_result_add_up_and_are_counted(
    make: Any, metrics: Metrics, stepped: SteppedPipeline
) -> None:
    result = make().submit(image_request("x", 1, 2)).future.result(30)
    seconds = (result.text_encoder_seconds, result.denoise_seconds, result.vae_seconds)
    assert all(value >= 0 for value in seconds)

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert sample("diffusion_images_total") == 2
    assert (sample("diffusion_batch_size_count"), sample("diffusion_batch_size_sum")) == (4, 8)
    for stage in ("text_encoder", "denoise", "vae"):
        assert sample("diffusion_stage_seconds_count", stage=stage) == 1


def test_costs_are_measured_in_requests_of_the_services_defaults(
    make: Any, metrics: Metrics, stepped: SteppedPipeline
) -> None:
    engine = make(max_images=1)
    occupy(engine, stepped, steps=8)
    engine.submit(image_request("a", 1, 2))
    engine.submit(image_request("b", steps=2, width=128))
    assert metrics.registry.get_sample_value("diffusion_running_cost") == 2
    assert metrics.registry.get_sample_value("diffusion_waiting_cost") == 3
    assert metrics.registry.get_sample_value("diffusion_queue_length") == 2


# Failures


def test_a_bad_request_fails_alone_at_each_stage(make: Any, stepped: SteppedPipeline) -> None:
    engine = make()
    for stage in ("text", "step", "decode"):
        stepped.failures[stage, stage] = ValueError("no")
    first = occupy(engine, stepped)
    bad = [engine.submit(image_request(stage)) for stage in ("text", "step", "decode")]
    good = engine.submit(image_request("good", 7))
    stepped.release()
    for request in bad:
        with pytest.raises(EngineFailed):
            request.future.result(30)
    assert results(first, good) == [[0], [7]]


def test_a_failed_decoding_does_not_repeat_the_denoising(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    stepped.memory["decode"] = 1
    requests = [occupy(engine, stepped), *(engine.submit(image_request("x", 5)) for _ in range(3))]
    stepped.release()
    assert results(*requests) == [[0], [5], [5], [5]]
    assert [len(step) for step in stepped.steps] == [1, 4, 4, 4, 3]
    assert [len(images) for images in stepped.decoded] == [1, 3, 2, 1, 1, 1]


def once(stepped: SteppedPipeline, stage: str, number: int) -> None:
    """Makes the memory of a stage too small for two images, in one step alone."""

    def shortage(step: int) -> None:
        stepped.memory = {stage: 1} if step == number else {}

    stepped.on_step = shortage


def test_a_passing_shortage_in_a_step_repeats_that_step_in_halves_and_fails_nobody(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    runner = engine.ready.result()
    first = occupy(engine, stepped)
    others = [engine.submit(image_request("x", seed)) for seed in (1, 2, 3)]
    once(stepped, "step", 2)
    stepped.release()
    assert results(first, *others) == [[0], [1], [2], [3]]
    assert runner.denoising_memory.pixels == 2 * image_request("x").step_work
    assert sum(map(len, stepped.steps)) == 4 * 4 + 4, "4 images' step was tried in vain"


def test_a_shortage_in_every_step_fails_nobody_while_one_image_fits(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    stepped.memory["step"] = 1
    requests = [engine.submit(image_request("x", seed)) for seed in range(4)]
    assert results(*requests) == [[0], [1], [2], [3]]
    assert engine.ready.result().denoising_memory.images(image_request("x").step_work) == 1


def test_an_image_that_never_fits_fails_and_the_next_is_made(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    for stage in ("text", "step", "decode"):
        stepped.failures[stage, "huge"] = OutOfMemory("1 image")
        huge = engine.submit(image_request("huge", 1))
        with pytest.raises(EngineFailed):
            huge.future.result(30)
        assert results(engine.submit(image_request("small", 7))) == [[7]]
        del stepped.failures[stage, "huge"]


def test_a_shortage_in_the_text_encoder_encodes_in_halves(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    first = occupy(engine, stepped)
    others = [engine.submit(image_request("x", seed)) for seed in (1, 2, 3, 4)]
    stepped.memory["text"] = 2
    stepped.release()
    assert results(first, *others) == [[0], [1], [2], [3], [4]]
    assert [len(texts) for texts in stepped.encoded] == [1, 4, 2, 2]


def test_a_lost_device_ends_the_engine_and_leaves_no_request_waiting(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make(max_images=1)
    first = occupy(engine, stepped)
    waiting = engine.submit(image_request("waiting"))
    stepped.failures["step", "first"] = DeviceLost("gone")
    stepped.release()
    assert isinstance(engine.ended.exception(10), DeviceLost)
    for request in (first, waiting):
        assert isinstance(request.future.exception(10), NotReady)


# Start and end


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


def test_a_size_that_memory_refuses_at_the_start_is_not_tried_again(
    make: Any, stepped: SteppedPipeline
) -> None:
    stepped.memory["step"] = 5
    engine = make()
    assert results(engine.submit(image_request("x", *range(8)))) == [list(range(8))]
    assert max(map(len, stepped.steps)) == 4


def test_a_warm_up_image_of_one_value_is_a_failed_start(
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
    assert "same value" in str(error)


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
