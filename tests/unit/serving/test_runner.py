"""Mixed lists, bad members and full memory, on a pipeline that is played."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from diffusion_serving.engine import BatchRunner, Result
from diffusion_serving.engine.errors import EngineFailed
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OutOfMemory
from diffusion_serving.engine.runner import TIMING_SECONDS
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.observability.startup_errors import DeviceLost


def wanted(prompt: str, *seeds: int, steps: int = 4) -> ImageRequest:
    return ImageRequest(prompt, "", steps, 2.0, 64, 64, seeds or (0,))


@pytest.fixture
def runner(pipeline: Any) -> BatchRunner:
    return BatchRunner(pipeline, max_images=4, metrics=make_metrics())


def colours(outcome: Any) -> list[int]:
    """The seeds that the fake pipeline painted."""
    assert isinstance(outcome, Result)
    return [picture.rgb[2] for picture in outcome.pictures]


def sizes(pipeline: Any) -> list[int]:
    return [sum(len(g.seeds) for g in batch) for batch in pipeline.batches]


def test_mixed_list_comes_back_in_order_one_call_a_key(runner: BatchRunner, pipeline: Any) -> None:
    mixed = [wanted("a", 1), wanted("b", 2, steps=5), wanted("c", 3), wanted("d", 4, steps=5)]
    assert [colours(outcome) for outcome in runner.run(mixed)] == [[1], [2], [3], [4]]
    assert [[g.prompt for g in batch] for batch in pipeline.batches] == [["a", "c"], ["b", "d"]]


def test_list_longer_than_the_cap_takes_several_calls(runner: BatchRunner, pipeline: Any) -> None:
    outcomes = runner.run([wanted("x", seed) for seed in range(10)])
    assert [colours(outcome) for outcome in outcomes] == [[seed] for seed in range(10)]
    assert sizes(pipeline) == [4, 4, 2]


def test_request_is_split_only_if_it_alone_is_too_large(runner: BatchRunner, pipeline: Any) -> None:
    outcomes = runner.run([wanted("a", 0, 1, 2), wanted("b", 3, 4), wanted("c", *range(5, 15))])
    assert [colours(outcome) for outcome in outcomes] == [[0, 1, 2], [3, 4], list(range(5, 15))]
    assert sizes(pipeline) == [3, 2, 4, 4, 2]


def test_seconds_of_a_split_request_are_those_of_all_its_calls(runner: BatchRunner) -> None:
    (outcome,) = runner.run([wanted("x", *range(8))])
    assert isinstance(outcome, Result)
    assert outcome.denoise_seconds == pytest.approx(0.04)
    assert outcome.vae_seconds == pytest.approx(0.006)


def test_steps_of_a_split_request_go_on_counting(runner: BatchRunner) -> None:
    told: list[tuple[int, int]] = []
    runner.run([wanted("x", *range(6), steps=2)], [lambda *step: told.append(step)])
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_full_memory_halves_the_batch_goes_on_and_is_remembered(
    runner: BatchRunner, pipeline: Any
) -> None:
    pipeline.memory_images = 2
    first = runner.run([wanted("x", seed) for seed in range(4)])
    assert [colours(outcome) for outcome in first] == [[0], [1], [2], [3]]
    second = runner.run([wanted("x", seed) for seed in range(4)])
    assert [colours(outcome) for outcome in second] == [[0], [1], [2], [3]]
    assert sizes(pipeline) == [4, 2, 2, 2, 2]


def test_what_memory_holds_of_one_size_says_nothing_of_another(
    runner: BatchRunner, pipeline: Any
) -> None:
    pipeline.memory_images = 2
    runner.run([wanted("x", 0, 1, 2, 3)])
    small = replace(wanted("x"), width=32, height=32)
    assert runner.cap(wanted("x").key) == 2
    assert runner.cap(small.key) == 4
    assert runner.cap(replace(wanted("x"), steps=50).key) == 2


def test_single_image_that_memory_does_not_hold_fails_and_the_next_is_made(
    runner: BatchRunner, pipeline: Any
) -> None:
    pipeline.failures["huge"] = OutOfMemory("1 image")
    huge, small = runner.run([wanted("huge"), wanted("small", 7)])
    assert isinstance(huge, EngineFailed)
    assert colours(small) == [7]


def test_bad_member_fails_alone_whatever_its_images(runner: BatchRunner, pipeline: Any) -> None:
    pipeline.failures["bad"] = ValueError("no")
    mixed = [wanted("a", 1), wanted("bad", *range(9)), wanted("b", 2)]
    first, bad, last = runner.run(mixed)
    assert isinstance(bad, EngineFailed)
    assert (colours(first), colours(last)) == ([1], [2])
    tried = [batch for batch in pipeline.batches if any(g.prompt == "bad" for g in batch)]
    assert len(tried) == 1, "the rest of a request that has failed is not made"


def test_lost_device_is_told_not_swallowed(runner: BatchRunner, pipeline: Any) -> None:
    pipeline.failures["x"] = DeviceLost("gone")
    with pytest.raises(DeviceLost):
        runner.run([wanted("x"), wanted("y")])


def test_two_threads_take_turns(runner: BatchRunner, pipeline: Any) -> None:
    pipeline.hold()
    threads = [
        threading.Thread(target=runner.run, args=([wanted(name)],)) for name in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    assert pipeline.entered.acquire(timeout=60)
    assert not pipeline.entered.acquire(timeout=0.05)
    pipeline.release()
    for thread in threads:
        thread.join(10)
    assert sorted(pipeline.prompts) == ["one", "two"]


def test_batches_and_their_images_are_counted(pipeline: Any) -> None:
    metrics = make_metrics()
    BatchRunner(pipeline, max_images=4, metrics=metrics).run([wanted("x", *range(6))])
    assert metrics.registry.get_sample_value("diffusion_images_total") == 6
    assert metrics.registry.get_sample_value("diffusion_batch_size_sum") == 6
    assert metrics.registry.get_sample_value("diffusion_batch_size_count") == 2
    stage = {"stage": "denoise"}
    assert metrics.registry.get_sample_value("diffusion_stage_seconds_count", stage) == 2


def test_calls_are_timed_for_each_power_of_two_and_the_cap(pipeline: Any) -> None:
    runner = BatchRunner(pipeline, max_images=6, metrics=make_metrics())
    runner.warm_up(wanted("x"), (1,))
    timed = runner.time_calls(wanted("x"))
    assert [size for size, _ in timed] == [1, 2, 4, 6]
    assert sizes(pipeline) == [1, 1, 2, 4, 6]
    assert all(seconds > 0 for _, seconds in timed)


def test_slow_pipeline_is_not_timed(runner: BatchRunner, pipeline: Any) -> None:
    runner.seconds_per_image = TIMING_SECONDS / 6
    assert runner.time_calls(wanted("x")) == ()
    assert pipeline.batches == []


def test_timing_is_not_counted_as_images(runner: BatchRunner) -> None:
    runner.seconds_per_image = 0.01
    assert runner.time_calls(wanted("x"))
    assert runner._metrics.registry.get_sample_value("diffusion_images_total") == 0
