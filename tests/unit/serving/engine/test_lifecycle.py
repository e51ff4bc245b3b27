"""The begin of an engine: its load, its warm-up, and the errors of both."""

from dataclasses import replace
from typing import Any

import pytest

from diffusion_serving.engine import State
from diffusion_serving.engine.errors import NotReady
from diffusion_serving.observability.startup_errors import ModelLoadFailed, WrongDevice
from image_requests import WARM_UP, image_request


@pytest.mark.parametrize("error", [ModelLoadFailed("no model"), WrongDevice("no cuda")])
def test_failed_load_keeps_its_reason(build: Any, error: Exception) -> None:
    def load() -> Any:
        raise error

    engine = build(load)
    engine.start()
    assert engine.ready.exception(10) is error
    assert engine.ended.exception(10) is None
    assert engine.state is State.FAILED
    with pytest.raises(NotReady):
        engine.submit(image_request("x"))


def test_unexpected_failure_of_the_load_is_a_model_load_failure(build: Any) -> None:
    def load() -> Any:
        raise KeyError("unet")

    engine = build(load)
    engine.start()
    error = engine.ready.exception(10)
    assert isinstance(error, ModelLoadFailed)
    assert "KeyError: 'unet'" in str(error)


def test_engine_is_not_ready_before_its_warm_up_image_is_finished(
    build: Any, pipeline: Any
) -> None:
    pipeline.hold()
    engine = build()
    engine.start()
    assert pipeline.entered.acquire(timeout=60)
    assert engine.runner is None
    with pytest.raises(NotReady, match="loading"):
        engine.submit(image_request("x"))
    pipeline.release()
    engine.ready.result(60)
    assert engine.state is State.READY
    assert engine.stop(10)


def test_failed_warm_up_is_a_model_load_failure(build: Any, pipeline: Any) -> None:
    pipeline.failures["warm-up"] = RuntimeError("not finite")
    engine = build()
    engine.start()
    error = engine.ready.exception(10)
    assert isinstance(error, ModelLoadFailed)
    assert "warm-up" in str(error)
    assert "not finite" in str(error)


def test_each_special_batch_size_is_warmed_up_before_ready(make: Any, pipeline: Any) -> None:
    pipeline.batch_sizes = (1, 2, 4, 8)
    make()
    assert [sum(len(g.seeds) for g in batch) for batch in pipeline.batches] == [1, 2, 4, 8]


def test_batch_size_that_memory_refuses_in_the_warm_up_is_never_tried_again(
    make: Any, pipeline: Any
) -> None:
    pipeline.batch_sizes = (1, 2, 4, 8)
    pipeline.memory_images = 5
    engine = make()
    tried = len(pipeline.batches)
    request = engine.submit(replace(WARM_UP, prompt="x", seeds=tuple(range(8))))
    assert len(request.future.result(60).pictures) == 8
    assert [sum(len(g.seeds) for g in batch) for batch in pipeline.batches[tried:]] == [4, 4]
