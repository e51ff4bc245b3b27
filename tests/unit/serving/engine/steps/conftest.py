"""Engines on a pipeline with a step loop that needs no model."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from diffusion_serving.engine import Batching, Engine, step_schedule
from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.observability.metrics import Metrics, make_metrics
from stepping import SteppedPipeline, image_request


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

    def build(
        max_images: int = 8, max_queue: int = 1000, max_wait: float = 0.0, **warm_up: Any
    ) -> Engine:
        engine = Engine(
            lambda: stepped,
            lambda _: image_request("warm-up", **warm_up),
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
    monkeypatch.setattr(step_schedule, "AGEING", 1e-9)
    monkeypatch.setattr(step_schedule, "_IN_TIME", math.inf)
