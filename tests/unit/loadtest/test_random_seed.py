"""Random numbers of a run: equal where the seed is equal."""

from typing import Any

from diffusion_loadtest.load.request_sender import RequestSender
from diffusion_loadtest.plan.load_plan import LoadPlan


def sender(worker: str = "", **changes: Any) -> RequestSender:
    document = {
        "version": 1,
        "test": {"name": "seeds", "namespace": "default", "run": "abc123"},
        "target": {"url": "http://127.0.0.1:1"},
        "arrivals": {"stages": [{"ratePerSecond": 5.0, "durationSeconds": 9.0}]},
    }
    return RequestSender(LoadPlan.model_validate(document | changes), ("a", "b"), None, worker)


def draws(one: RequestSender) -> list[float]:
    """The first numbers of the first two generators."""
    return [random.random() for random in (one.new_random(), one.new_random())]


def run(name: str) -> dict[str, Any]:
    return {"test": {"name": "seeds", "namespace": "default", "run": name}}


def test_runs_with_one_seed_draw_the_same_numbers() -> None:
    assert draws(sender(randomSeed="s", **run("one"))) == draws(
        sender(randomSeed="s", **run("two"))
    )


def test_seeds_workers_and_generators_differ() -> None:
    numbers = [
        *draws(sender(randomSeed="s")),
        *draws(sender(randomSeed="t")),
        *draws(sender("1", randomSeed="s")),
    ]
    assert len(set(numbers)) == 6


def test_a_run_without_a_seed_draws_by_its_name() -> None:
    assert draws(sender(**run("one"))) == draws(sender(**run("one")))
    assert draws(sender(**run("one"))) != draws(sender(**run("two")))
