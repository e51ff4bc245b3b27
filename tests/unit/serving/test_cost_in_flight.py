from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.http.requests.cost_in_flight import CostInFlight

SIZE = (64, 64)


@pytest.fixture
def cost() -> Callable[..., tuple[CostInFlight, Callable[[], Any]]]:
    """Makes the cost in flight of a service of 4 guided steps, and the reader of its gauge."""

    def make(**batching: Any) -> tuple[CostInFlight, Callable[[], Any]]:
        generation = {"steps": 4, "guidanceScale": 2.0}
        document = {"backend": "litserve", "model": {"path": "/x"}, "generation": generation}
        config = ServingConfig.model_validate({**document, "batching": batching})
        registry = CollectorRegistry()
        made = CostInFlight(config, Gauge("cost", "Cost.", registry=registry))
        return made, lambda: registry.get_sample_value("cost")

    return make


def request_of(steps: int, images: int = 1, guidance_scale: float = 2.0) -> ImageRequest:
    return ImageRequest("x", "", steps, guidance_scale, *SIZE, tuple(range(images)))


def test_requests_in_flight_count_by_their_cost_and_nothing_is_left_of_them(cost: Any) -> None:
    in_flight, value = cost()
    with in_flight.count(request_of(4), SIZE), in_flight.count(request_of(5, images=2), SIZE):
        assert value() == 3.5
        with in_flight.count(request_of(1, guidance_scale=1.0), SIZE):
            assert value() == 3.625
    assert value() == 0


def test_one_request_counts_as_no_more_than_one_replica_runs(cost: Any) -> None:
    in_flight, value = cost(maxSize=2)
    with in_flight.count(request_of(100, images=4), SIZE):
        assert value() == 2
        with in_flight.count(request_of(100), SIZE):
            assert value() == 4


def test_a_request_that_fails_counts_no_more(cost: Any) -> None:
    in_flight, value = cost()
    failing = in_flight.count(request_of(4), SIZE)
    with pytest.raises(ValueError, match="no"), failing:
        raise ValueError("no")
    assert value() == 0


@pytest.mark.parametrize("mode", ["none", "framework"])
def test_each_request_counts_as_one_where_no_steps_are_scheduled(cost: Any, mode: str) -> None:
    in_flight, value = cost(mode=mode)
    with in_flight.count(request_of(100), SIZE), in_flight.count(request_of(1), SIZE):
        assert value() == 2
