from collections.abc import Sequence
from typing import Any

from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.engine_process.watched_pipeline import WatchedPipeline
from diffusion_serving.observability.device_calls import DeviceCalls
from stepping import SteppedPipeline
from verdicts import BLUE, RedChecker

REQUEST = ImageRequest("x", "", 1, 2.0, 64, 64, (1, 2))


def test_each_stage_is_a_call_of_its_own_that_can_be_overdue() -> None:
    calls, pipeline = DeviceCalls(), SteppedPipeline()
    running: list[Any] = []
    pipeline.on_step = lambda _: running.append(calls.running)
    steps = WatchedPipeline(pipeline, calls).stepwise
    assert steps is not None
    (states,) = steps.begin([REQUEST])
    steps.step(states)
    assert len(steps.decode(states)) == 2
    assert [call is not None for call in running] == [True]
    assert calls.running is None


def test_check_of_pictures_is_a_call_that_can_be_overdue() -> None:
    calls, pipeline = DeviceCalls(), SteppedPipeline()
    assert WatchedPipeline(pipeline, calls).checker is None
    running: list[Any] = []

    class Looking(RedChecker):
        def __call__(self, pictures: Sequence[Picture]) -> list[bool]:
            running.append(calls.running)
            return super().__call__(pictures)

    pipeline.checker = Looking()
    checker = WatchedPipeline(pipeline, calls).checker
    assert checker is not None
    assert list(checker([Picture(1, 1, BLUE.to_bytes(3, "big"))])) == [False]
    assert checker.name == "Model"
    assert [call is not None for call in running] == [True]
    assert calls.running is None


def test_a_pipeline_without_steps_has_none(pipeline: Any) -> None:
    assert WatchedPipeline(pipeline, DeviceCalls()).stepwise is None
