"""A failed request is beyond every latency limit, and one in a hundred may fail by default."""

import math
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.plan.load_plan import LoadPlan, Slo
from diffusion_loadtest.plan.search import Probe
from diffusion_loadtest.report.figures import Window
from diffusion_loadtest.report.load_report import Report, SloVerdict
from diffusion_loadtest.report.outcome import Outcome, report_of
from diffusion_loadtest.report.slo import Requests, judge
from diffusion_loadtest.report.validity import Observations


def verdict(slo: dict[str, float], latencies: list[float], failures: int) -> SloVerdict:
    return judge(Slo.model_validate(slo), Requests(sorted(latencies), failures, 10.0))


def true_percentile(latencies: list[float], failures: int, percent: int) -> float:
    """The nearest rank where a failure takes for ever: the least value with that share below."""
    values = sorted([*latencies, *[math.inf] * failures])
    return min(v for v in values if 100 * sum(x <= v for x in values) >= percent * len(values))


@pytest.mark.parametrize(("failures", "met"), [(0, True), (1, True), (2, False), (61, False)])
def test_one_in_a_hundred_may_fail_where_the_slo_names_latencies_alone(
    failures: int, met: bool
) -> None:
    result = verdict({"p50Seconds": 8.0}, [0.1] * (100 - failures), failures)
    assert result.met is met
    assert result.checks[-1].name == "maxFailureRatio"
    assert result.checks[-1].limit == 0.01
    if not met:
        assert "failed instead of at most 1.00%" in result.message


def test_slo_sets_the_share_that_may_fail() -> None:
    assert verdict({"p50Seconds": 8.0, "maxFailureRatio": 0.3}, [0.1] * 70, 30).met
    assert verdict({"maxFailureRatio": 0.3}, [0.1] * 70, 30).met
    assert not verdict({"maxFailureRatio": 0.0}, [0.1] * 999, 1).met


def test_failed_request_is_later_than_any_limit() -> None:
    # The SLO allows the 6 % that fail, but its p95 allows no more than 5 % later than the limit.
    result = verdict({"p95Seconds": 3600.0, "maxFailureRatio": 0.5}, [0.1] * 94, 6)
    assert not result.met
    assert (result.checks[0].value, result.checks[0].met) == (None, False)
    assert "p95 has no value, since the request of its rank failed" in result.message
    assert verdict({"p95Seconds": 3600.0, "maxFailureRatio": 0.5}, [0.1] * 95, 5).met


@pytest.mark.parametrize("seed", range(40))
def test_latencies_of_a_verdict_are_ranked_over_all_requests(seed: int) -> None:
    chance = random.Random(seed)
    latencies = [chance.lognormvariate(0, 1) for _ in range(chance.randrange(1, 400))]
    failures = chance.randrange(60)
    for percent in (50, 95, 99):
        truth = true_percentile(latencies, failures, percent)
        limit = chance.uniform(0.5, 5.0)
        result = verdict({f"p{percent}Seconds": limit, "maxFailureRatio": 1.0}, latencies, failures)
        assert result.met is (truth <= limit)


def test_no_limit_is_met_without_a_request() -> None:
    for slo in ({"maxFailureRatio": 1.0}, {"p95Seconds": 1.0}):
        result = verdict(slo, [], 0)
        assert (result.met, result.message) == (False, "no request has ended")


def report(
    load: dict[str, Any], samples: list[Sample], windows: list[Window], **more: Any
) -> Report:
    recorded = Samples()
    for sample in sorted(samples):
        recorded.record(sample)
    document = {
        "version": 1,
        "test": {"name": "demo", "namespace": "default", "run": "abc"},
        "target": {"url": "http://demo"},
        "slo": {"p95Seconds": 1.0},
        **load,
    }
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return report_of(
        Outcome(
            plan=LoadPlan.model_validate(document),
            samples=recorded,
            windows=windows,
            user_changes=[] if windows[0].rate else [(0.0, windows[0].users)],
            probes=more.get("probes", ()),
            load_seconds=windows[-1].end,
            observations=Observations(client_usage=()),
            about=None,
            about_after=None,
            started=now,
            completed=now,
            error=None,
        )
    )


def test_run_with_61_per_cent_http_500_misses_its_slo() -> None:
    users = {"users": {"stages": [{"users": 4, "durationSeconds": 40.0}], "spawnRate": 100.0}}
    samples = [
        Sample(n / 10 + 0.1, 0.1, 0, "HTTP500" if n % 100 < 61 else SUCCESS) for n in range(400)
    ]
    result = report(users, samples, [Window(0, 0.0, 40.0, 4)])
    assert result.slo is not None
    assert not result.slo.met
    assert "% failed instead of at most 1.00%" in result.slo.message
    assert [stage.within_slo for stage in result.stages] == [False]
    assert result.summary.max_users_within_slo is None


def shedding(level: float, capacity: float, seconds: float, stage: int) -> list[Sample]:
    """A server that serves `capacity` requests per second, and refuses the rest with 503."""
    begin = 100.0 * stage
    count = round(level * seconds)
    return [
        Sample(
            begin + n / level + 0.02,
            0.02,
            stage,
            SUCCESS if int((n + 1) * capacity / level) > int(n * capacity / level) else "HTTP503",
        )
        for n in range(count)
    ]


def test_level_of_a_search_at_which_80_per_cent_are_shed_is_beyond_the_slo() -> None:
    levels = (200.0, 40.0)
    samples = [s for n, level in enumerate(levels) for s in shedding(level, 40.0, 60.0, n)]
    windows = [Window(n, 100.0 * n, 100.0 * n + 60.0, 0, level) for n, level in enumerate(levels)]
    search = {"search": {"over": "rate", "min": 40.0, "max": 200.0, "probeSeconds": 60.0}}
    probes = [Probe(level, within=level <= 40.0) for level in levels]
    result = report(search, samples, windows, probes=probes)
    assert [stage.within_slo for stage in result.stages] == [False, True]
    assert result.stages[0].failure_ratio == pytest.approx(0.8)
