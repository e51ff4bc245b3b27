"""Timeline of a load in fewer points."""

from typing import Any

import pytest

from diffusion_operator.comparison.analysis.timeline import thinned


def point(t: int, **changes: Any) -> dict[str, Any]:
    rates = {"requestsPerSecond": 4.0, "failuresPerSecond": 0.0}
    return {"t": t, "users": 8, **rates, "p50": 900.0, "p95": 1200.0, **changes}


def test_a_burst_of_a_second_stays_in_a_thinned_timeline() -> None:
    timeline = [point(t) for t in range(600)]
    burst = {"requestsPerSecond": 0.0, "failuresPerSecond": 50.0, "p50": None, "p95": 9000.0}
    timeline[301] = point(301, users=12, **burst)
    less = thinned(timeline, 100)
    assert [each["t"] for each in less] == list(range(0, 600, 6))
    failures = sum(each["failuresPerSecond"] for each in less) * 6
    assert failures == pytest.approx(50, abs=0.01)
    assert max(each["p95"] for each in less) == 9000
    assert max(each["users"] for each in less) == 12
    assert {each["p50"] for each in less} == {900.0}


def test_a_median_is_weighted_by_requests() -> None:
    quiet = point(0, requestsPerSecond=1.0, p50=100.0)
    busy = point(1, requestsPerSecond=3.0, p50=500.0)
    assert thinned([quiet, busy], 1) == [point(0, requestsPerSecond=2.0, p50=400.0)]


def test_points_without_figures_stay_without_them() -> None:
    silent = {"requestsPerSecond": 0.0, "p50": None, "p95": None}
    assert thinned([point(0, **silent), point(1, **silent)], 1) == [point(0, **silent)]


def test_a_short_timeline_stays_as_it_is() -> None:
    timeline = [point(0), point(1)]
    assert thinned(timeline, 2) == timeline
    assert thinned([], 5) == []
