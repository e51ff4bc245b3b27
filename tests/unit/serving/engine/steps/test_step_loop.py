"""The engine on a pipeline with a step loop: joins and leaves, failures, memory, metrics."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from diffusion_serving.engine.errors import EngineFailed, NotReady
from diffusion_serving.engine.image_request import LoraUse
from diffusion_serving.engine.pipeline_interface import OutOfMemory
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import DeviceLost
from stepping import SteppedPipeline, image_request, occupy, results


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


def test_images_of_a_large_step_are_decoded_in_slices(make: Any, stepped: SteppedPipeline) -> None:
    engine = make(max_images=64)
    assert results(engine.submit(image_request("x", *range(20)))) == [list(range(20))]
    assert {len(images) for images in stepped.steps} == {20}
    assert [len(images) for images in stepped.decoded] == [8, 8, 4]


def test_a_decoding_has_no_more_images_than_memory_is_known_to_hold(
    make: Any, stepped: SteppedPipeline
) -> None:
    engine = make()
    engine.ready.result().decoding_memory.refuse(4 * image_request("x").pixels)
    assert results(engine.submit(image_request("x", *range(5)))) == [list(range(5))]
    assert [len(images) for images in stepped.decoded] == [2, 2, 1]


def test_finished_images_wait_for_a_full_decoding_and_no_longer_while_short_requests_come(
    make: Any, stepped: SteppedPipeline, ageless: None
) -> None:
    """Waiting seems to pay for ever: a decoding costs an hour however many images it has."""
    engine = make(max_images=3)
    runner = engine.ready.result()
    runner._curve = replace(runner.curve, decoding=((1, 3600.0), (3, 3600.0)))
    long = occupy(engine, stepped, steps=50)
    short = [engine.submit(image_request("short", seed, steps=seed + 1)) for seed in range(6)]
    stepped.release()
    assert results(long, *short) == [[0], *[[seed] for seed in range(6)]]
    assert max(len(images) for images in stepped.decoded) == 3
    before = stepped.order.index(("decode", ["short"] * 3))
    assert before < len(stepped.order) / 2, "not at the end, when nothing runs any more"


def test_an_image_of_another_size_waits_for_no_images_that_it_cannot_be_decoded_with(
    make: Any, stepped: SteppedPipeline, ageless: None
) -> None:
    engine = make()
    runner = engine.ready.result()
    runner._curve = replace(runner.curve, decoding=((1, 3600.0), (8, 3600.0)))
    long = occupy(engine, stepped, steps=50)
    first = engine.submit(image_request("first", 1, steps=1))
    wide = engine.submit(image_request("wide", 2, steps=2, width=72))
    stepped.release()
    results(long, first, wide)
    assert stepped.order.index(("decode", ["wide"])) < 10
