from typing import Any

import pytest

from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.load_report import RunError
from diffusion_loadtest.report.validity import Observations, needed_samples, validity

CALM = [ClientUsage(float(at), 0.3, 0.001) for at in range(60)]
GOOD: dict[str, Any] = {"client_usage": [CALM], "successes": 500, "median": 0.4}


def verdict(slo: Slo | None = None, error: RunError | None = None, **changes: Any) -> Any:
    return validity(Observations(**(GOOD | changes)), slo, error)


def busy(seconds: int, cpu: float = 0.3, lag: float = 0.001) -> list[ClientUsage]:
    return [ClientUsage(float(at), cpu, lag) for at in range(seconds)] + CALM[seconds:]


def test_undisturbed_run_is_valid() -> None:
    assert (verdict().status, verdict().reason, verdict().also) == (True, "Measured", ())


@pytest.mark.parametrize(
    ("changes", "reason", "word"),
    [
        ({"workers_lost": 1}, "WorkerLost", "1 worker"),
        ({"target_restart": "a process began"}, "TargetRestarted", "a process began"),
        ({"target_change": "revision b"}, "TargetChanged", "revision b"),
        ({"warmup_requests": 5, "warmup_failures": 5}, "WarmupFailed", "all 5 requests"),
        ({"client_usage": [CALM, busy(6, cpu=0.95)]}, "ClientSaturated", "90% of its core"),
        ({"client_usage": [busy(6, lag=0.03)]}, "ClientSaturated", "20 ms late"),
        ({"unsent": 3}, "ClientSaturated", "3 requests were not sent"),
        ({"successes": 58}, "TooFewSamples", "need 59"),
    ],
)
def test_reason_why_the_figures_are_not_valid_is_given(
    changes: dict[str, Any], reason: str, word: str
) -> None:
    result = verdict(**changes)
    assert (result.status, result.reason) == (False, reason)
    assert word in result.message


def test_weightiest_reason_comes_first_and_the_others_are_named() -> None:
    result = verdict(successes=3, unsent=1, workers_lost=1)
    assert (result.reason, result.also) == ("WorkerLost", ("ClientSaturated", "TooFewSamples"))


def test_run_with_an_error_is_not_valid_for_the_same_reason() -> None:
    result = verdict(error=RunError(reason="Interrupted", message="the run was stopped"))
    assert (result.status, result.reason, result.message) == (
        False,
        "Interrupted",
        "the run was stopped",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"warmup_requests": 5, "warmup_failures": 4},
        {"client_usage": [busy(5, cpu=1.0)]},  # one in twelve seconds
        {"client_usage": [busy(60, lag=0.019)]},  # less than a twentieth of the median
        {"client_usage": [busy(60, lag=0.009)], "median": 0.001},  # less than 10 ms
        {"client_usage": [[ClientUsage(1.0, 1.0, 1.0)]]},  # a single second of a short run
        {"client_usage": []},
    ],
)
def test_small_disturbance_leaves_the_figures_valid(changes: dict[str, Any]) -> None:
    assert verdict(**changes).status


def test_percentile_needs_as_many_samples_as_bound_it_with_confidence() -> None:
    assert needed_samples(None) == needed_samples(Slo(p95_seconds=1.0)) == 59
    assert needed_samples(Slo(p99_seconds=1.0)) == 299
    # the largest of that many samples exceeds the quantile with 95% probability;
    # with one sample fewer, the probability is lower
    assert 1 - 0.95**59 >= 0.95 > 1 - 0.95**58
    assert 1 - 0.99**299 >= 0.95 > 1 - 0.99**298
