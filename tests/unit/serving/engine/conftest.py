"""Engines on the fake pipeline."""

from collections.abc import Callable
from typing import Any

import pytest

from diffusion_serving.engine import Engine
from diffusion_serving.observability.metrics import make_metrics
from image_requests import WARM_UP


@pytest.fixture
def build(pipeline: Any, request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """Makes an engine on the fake pipeline; the test starts the engine."""

    def build(
        load: Callable[[], Any] = lambda: pipeline,
        max_queue: int = 64,
        queue_timeout: float = 60.0,
        **options: Any,
    ) -> Engine:
        engine = Engine(
            load,
            lambda _: WARM_UP,
            max_queue=max_queue,
            queue_timeout=queue_timeout,
            metrics=make_metrics(),
            **options,
        )
        request.addfinalizer(lambda: (pipeline.release(), engine.stop(10)))
        return engine

    return build


@pytest.fixture
def make(build: Any, pipeline: Any) -> Callable[..., Engine]:
    """Makes an engine on the fake pipeline that is ready and idle."""

    def make(**options: Any) -> Engine:
        engine: Engine = build(**options)
        engine.start()
        engine.ready.result(60)
        assert pipeline.entered.acquire(timeout=60)
        return engine

    return make
