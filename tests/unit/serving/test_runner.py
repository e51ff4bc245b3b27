"""Batch runner with mixed lists, bad requests and full memory, on a fake pipeline."""

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


def image_request(prompt: str, *seeds: int, steps: int = 4) -> ImageRequest:
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
    mixed = [
        image_request("a", 1),
        image_request("b", 2, steps=5),
        image_request("c", 3),
        image_request("d", 4, steps=5),
    ]
    assert [colours(outcome) for outcome in runner.run(mixed)] == [[1], [2], [3], [4]]
    assert [[g.prompt for g in batch] for batch in pipeline.batches] == [["a", "c"], ["b", "d"]]


def test_list_longer_than_the_cap_takes_several_calls(runner: BatchRunner, pipeline: Any) -> None:
    outcomes = runner.run([image_request("x", seed) for seed in range(10)])
    assert [colours(outcome) for outcome in outcomes] == [[seed] for seed in range(10)]
    assert sizes(pipeline) == [4, 4, 2]


def test_request_is_split_only_if_it_alone_is_too_large(runner: BatchRunner, pipeline: Any) -> None:
    outcomes = runner.run(
        [image_request("a", 0, 1, 2), image_request("b", 3, 4), image_request("c", *range(5, 15))]
    )
    assert [colours(outcome) for outcome in outcomes] == [[0, 1, 2], [3, 4], list(range(5, 15))]
    assert sizes(pipeline) == [3, 2, 4, 4, 2]


def test_seconds_of_a_split_request_are_those_of_all_its_calls(runner: BatchRunner) -> None:
    (outcome,) = runner.run([image_request("x", *range(8))])
    assert isinstance(outcome, Result)
    assert outcome.denoise_seconds == pytest.approx(0.04)
    assert outcome.vae_seconds == pytest.approx(0.006)


def test_steps_of_a_split_request_go_on_counting(runner: BatchRunner) -> None:
    log: list[tuple[int, int]] = []
    runner.run([image_request("x", *range(6), steps=2)], [lambda *step: log.append(step)])
    assert log == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_full_memory_halves_the_batch_and_is_remembered(runner: BatchRunner, pipeline: Any) -> None:
    pipeline.memory_images = 2
    first = runner.run([image_request("x", seed) for seed in range(4)])
    assert [colours(outcome) for outcome in first] == [[0], [1], [2], [3]]
    second = runner.run([image_request("x", seed) for seed in range(4)])
    assert [colours(outcome) for outcome in second] == [[0], [1], [2], [3]]
    assert sizes(pipeline) == [4, 2, 2, 2, 2]


def test_the_cap_by_memory_of_one_size_says_nothing_of_another_size(
    runner: BatchRunner, pipeline: Any
) -> None:
    pipeline.memory_images = 2
    runner.run([image_request("x", 0, 1, 2, 3)])
    small = replace(image_request("x"), width=32, height=32)
    assert runner.cap(image_request("x").key) == 2
    assert runner.cap(small.key) == 4
    assert runner.cap(replace(image_request("x"), steps=50).key) == 2


def test_single_image_that_does_not_fit_in_memory_fails_and_the_next_is_made(
    runner: BatchRunner, pipeline: Any
) -> None:
    pipeline.failures["huge"] = OutOfMemory("1 image")
    huge, small = runner.run([image_request("huge"), image_request("small", 7)])
    assert isinstance(huge, EngineFailed)
    assert colours(small) == [7]


def test_bad_request_fails_alone_whatever_its_images(runner: BatchRunner, pipeline: Any) -> None:
    pipeline.failures["bad"] = ValueError("no")
    mixed = [image_request("a", 1), image_request("bad", *range(9)), image_request("b", 2)]
    first, bad, last = runner.run(mixed)
    assert isinstance(bad, EngineFailed)
    assert (colours(first), colours(last)) == ([1], [2])
    tried = [batch for batch in pipeline.batches if any(g.prompt == "bad" for g in batch)]
    assert len(tried) == 1, "the rest of a request that has failed is not generated"


def test_lost_device_is_raised_not_swallowed(runner: BatchRunner, pipeline: Any) -> None:
    pipeline.failures["x"] = DeviceLost("gone")
    with pytest.raises(DeviceLost):
        runner.run([image_request("x"), image_request("y")])


def test_two_threads_take_turns(runner: BatchRunner, pipeline: Any) -> None:
    pipeline.hold()
    threads = [
        threading.Thread(target=runner.run, args=([image_request(name)],))
        for name in ("one", "two")
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
    BatchRunner(pipeline, max_images=4, metrics=metrics).run([image_request("x", *range(6))])
    assert metrics.registry.get_sample_value("diffusion_images_total") == 6
    assert metrics.registry.get_sample_value("diffusion_batch_size_sum") == 6
    assert metrics.registry.get_sample_value("diffusion_batch_size_count") == 2
    stage = {"stage": "denoise"}
    assert metrics.registry.get_sample_value("diffusion_stage_seconds_count", stage) == 2


def test_calls_are_timed_for_each_power_of_two_and_the_cap(pipeline: Any) -> None:
    runner = BatchRunner(pipeline, max_images=6, metrics=make_metrics())
    runner.warm_up(image_request("x"), (1,))
    timed = runner.time_calls(image_request("x"))
    assert [size for size, _ in timed] == [1, 2, 4, 6]
    assert sizes(pipeline) == [1, 1, 2, 4, 6]
    assert all(seconds > 0 for _, seconds in timed)


def test_slow_pipeline_is_not_timed(runner: BatchRunner, pipeline: Any) -> None:
    runner.seconds_per_image = TIMING_SECONDS / 6
    assert runner.time_calls(image_request("x")) == ()
    assert pipeline.batches == []


def test_timing_is_not_counted_as_images(runner: BatchRunner) -> None:
    runner.seconds_per_image = 0.01
    assert runner.time_calls(image_request("x"))
    assert runner._metrics.registry.get_sample_value("diffusion_images_total") == 0
