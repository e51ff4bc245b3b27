"""Window of a run, which gives its figures without those of the ramp before it."""

from statistics import median
from typing import Any

import pytest

from diffusion_operator.api.comparison import Run
from diffusion_operator.comparison.analysis.measurements import ended

Object = dict[str, Any]
NOW = "2026-01-01T00:01:00Z"
STAGES = (8, 16, 24)
"""Users of a ramp's stages, eight seconds each."""
CAPACITY = {"fast": 8.7, "slow": 3.0}
"""Responses per second of a saturated server with one queue: latency = users / capacity."""
LEAST_REQUESTS = 150


def measured(capacity: float) -> list[tuple[int, list[float]]]:
    """Latencies in milliseconds by stage; the last one lasts until there are enough requests."""
    stages = [(users, [users / capacity * 1000] * round(8 * capacity)) for users in STAGES[:-1]]
    count = LEAST_REQUESTS - sum(len(latencies) for _, latencies in stages)
    return [*stages, (STAGES[-1], [STAGES[-1] / capacity * 1000] * max(count, round(8 * capacity)))]


def figures(latencies: list[float], capacity: float) -> Object:
    half = round(median(latencies))
    speed = {"requestsPerSecond": f"{capacity:.4g}", "requests": len(latencies), "failures": 0}
    return {**speed, "p50": half, "p95": half, "p99": half}


def load_test(capacity: float, *, window: bool, **status: Any) -> Object:
    stages = measured(capacity)
    every = [latency for _, latencies in stages for latency in latencies]
    last = figures(stages[-1][1], capacity)
    return {
        "spec": {"users": {}},
        "status": {
            "state": "Complete",
            "summary": figures(every, capacity),
            "stages": [figures(latencies, capacity) for _, latencies in stages],
            **({"window": {**last, "stage": 3, "unknownField": 1}} if window else {}),
            "conditions": [{"type": "Valid", "status": "True"}],
            **status,
        },
    }


def ended_run(test: Object, report: Object | None = None) -> Run:
    begun = Run(variant="a", repetition=1, state="Testing")
    return ended(begun, test, report or {}, images=1, now=NOW)


@pytest.mark.parametrize("window", [True, False], ids=["window", "older-status"])
def test_a_ratio_of_medians_is_that_of_the_capacities_and_not_of_a_longer_last_stage(
    *, window: bool
) -> None:
    """Little's law gives medians at 24 users as 8.7 to 3.0, that is 2.9."""
    runs = {name: ended_run(load_test(speed, window=window)) for name, speed in CAPACITY.items()}
    slow, fast = runs["slow"].p50, runs["fast"].p50
    assert slow is not None
    assert fast is not None
    assert slow / fast == pytest.approx(2.9, rel=0.01)
    of_all = {
        name: load_test(speed, window=window)["status"]["summary"]["p50"]
        for name, speed in CAPACITY.items()
    }
    assert of_all["slow"] / of_all["fast"] > 4, "the whole run no longer shows the distortion"


def test_a_searchs_figures_are_its_knees() -> None:
    test = load_test(3.0, window=False)
    test["spec"] = {"search": {}}
    assert ended_run(test).p50 == test["status"]["summary"]["p50"]


def slo(status: str, reason: str) -> Object:
    return {"type": "SLOMet", "status": status, "reason": reason}


@pytest.mark.parametrize(
    ("condition", "within", "met"),
    [
        # The ramp before it was slow, and the window is within the objective; and the reverse.
        (slo("False", "BeyondSLO"), True, True),
        (slo("True", "WithinSLO"), False, False),
        (slo("False", "Overloaded"), True, False),
        (slo("Unknown", "UsersNotReached"), None, False),
        (slo("True", "WithinSLO"), None, True),
    ],
)
def test_the_objective_is_judged_by_the_same_window(
    condition: Object, within: bool | None, *, met: bool
) -> None:
    test = load_test(3.0, window=True)
    test["status"]["window"]["withinSLO"] = within
    test["status"]["conditions"].append(condition)
    assert ended_run(test).slo_met is met


def test_a_variant_that_does_not_sustain_the_rate_misses_its_objective_without_an_slo_too() -> None:
    report = {"window": {"overload": "18 of 20 requests a second were delivered"}}
    assert ended_run(load_test(3.0, window=True), report).slo_met is False
    assert ended_run(load_test(3.0, window=True), {"window": {"overload": None}}).slo_met is None


def test_the_tax_is_the_windows_and_the_run_says_how_long_the_window_was() -> None:
    report = {
        "summary": {"timings": {"queue": {"mean": 9.0}}},
        "stages": [{"timings": {"queue": 5.0}}, {"timings": {"queue": 30.0}}],
        "window": {"timings": {"queue": 40.0}, "measuredSeconds": 95.5},
    }
    run = ended_run(load_test(3.0, window=True), report)
    assert (run.tax, run.measured_seconds) == ({"queue": 40}, "95.5")
    older = ended_run(load_test(3.0, window=False), {**report, "window": None})
    assert (older.tax, older.measured_seconds) == ({"queue": 30}, None)
    oldest = {"summary": report["summary"], "stages": [{}]}
    assert ended_run(load_test(3.0, window=False), oldest).tax == {"queue": 9}


def test_a_search_without_a_knee_keeps_the_least_load_beyond_its_objectives() -> None:
    curve = [{"level": 8.0, "withinSlo": False}, {"level": 4.0, "withinSlo": False}]
    test = load_test(3.0, window=True)
    test["spec"] = {"search": {}}
    run = ended_run(test, {"search": {"over": "users", "knee": None, "step": 0.0, "curve": curve}})
    assert (run.max_load_within_slo, run.load_beyond_slo, run.is_below_least) == (None, "4", True)


def test_a_run_in_the_status_of_the_previous_release_is_still_read() -> None:
    fields = {"variant": "a", "repetition": 1, "state": "Complete", "sloMet": True, "valid": True}
    run = Run.model_validate(fields)
    assert (run.attempt, run.measured_seconds, run.is_below_least) == (1, None, False)


@pytest.mark.parametrize(("confirmed", "valid"), [(True, True), (False, False)])
def test_a_knee_that_held_once_is_no_figure(*, confirmed: bool, valid: bool) -> None:
    test = load_test(3.0, window=True, maxUsersWithinSLO=24)
    test["spec"] = {"search": {}}
    search = {"over": "users", "knee": 24, "step": 1.0, "confirmed": confirmed, "curve": []}
    run = ended_run(test, {"search": search})
    assert run.valid is valid
    assert run.reason == ("" if valid else "KneeNotConfirmed")


def test_an_unknown_verdict_on_the_figures_stays_unknown() -> None:
    conditions = [{"type": "Valid", "status": "Unknown", "reason": "NotJudged"}]
    assert ended_run(load_test(3.0, window=True, conditions=conditions)).valid is None
