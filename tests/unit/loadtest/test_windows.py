"""Figures and verdicts describe one window: a stage after its ramp and settling."""

from typing import Any

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample
from diffusion_loadtest.plan.load_plan import Stage
from diffusion_loadtest.plan.schedule import user_changes
from diffusion_loadtest.report.load_report import RunError
from window_reports import Stages, report


def responses(
    begin: float,
    end: float,
    rate: float,
    latency: float,
    *,
    stage: int = 0,
    kind: str | None = SUCCESS,
) -> list[Sample]:
    """Requests that begin at equal distances in `[begin, end)`, all with one latency."""
    count = round((end - begin) * rate)
    return [Sample(begin + n / rate + latency, latency, stage, kind) for n in range(count)]


def closed_loop(stages: Stages, spawn_rate: float, service: float) -> list[Sample]:
    """Users of a server that takes one request after the other, `service` seconds each."""
    changes = list(
        user_changes(
            [Stage(users=users, duration_seconds=seconds) for users, seconds in stages], spawn_rate
        )
    )
    end = sum(seconds for _, seconds in stages)
    starts = [(change.at, change.stage) for change in changes]
    samples: list[Sample] = []
    free = 0.0
    while starts:
        starts.sort()
        start, stage = starts.pop(0)
        if start >= end:
            break
        free = max(free, start) + service
        samples.append(Sample(free, free - start, stage, SUCCESS))
        later = [change.stage for change in changes if change.at <= free]
        starts.append((free, later[-1]))
    return samples


def test_stragglers_do_not_lower_the_rate() -> None:
    # 23 responses per second arrive for 12 s; those to ten last requests arrive 30 s later.
    samples = [*responses(0.0, 12.0, 23.0, 0.001), *responses(11.0, 12.0, 10.0, 30.0)]
    result = report([(4, 12.0)], samples)
    arrived = sum(sample.ended <= 12.0 for sample in samples)
    assert result.summary.requests_per_second == pytest.approx(arrived / 12.0) == 23.0
    assert result.stages[0].requests_per_second == pytest.approx(23.0, rel=0.01)
    assert result.summary.seconds == 12.0
    # The latencies of the ten count, and the timeline shows them.
    assert result.summary.max == 30_000.0
    assert result.timeline[-1].t > 40


def test_failures_after_the_load_are_in_no_rate() -> None:
    samples = [*responses(0.0, 10.0, 10.0, 0.1), *responses(8.0, 10.0, 5.0, 60.0, kind="Timeout")]
    result = report([(4, 10.0)], samples)
    assert (result.summary.failures, result.summary.failures_per_second) == (10, 0.0)


def test_stage_that_never_had_its_users_has_no_verdict() -> None:
    # One user more per second: ten in ten seconds, not a hundred.
    result = report([(5, 20.0), (100, 10.0)], responses(0.0, 30.0, 10.0, 0.1), spawn_rate=1.0)
    first, last = result.stages
    assert (first.users, first.users_reached, first.within_slo) == (5, 5, True)
    assert (last.users, last.users_reached, last.within_slo) == (100, 15, None)
    assert result.summary.max_users_within_slo == 5
    assert result.slo is not None
    assert (result.slo.met, result.slo.reason) == (False, "UsersNotReached")
    assert "names 100 users and had 15 at most" in result.slo.message
    assert (result.valid.status, result.valid.reason) == (False, "UsersNotReached")


def test_stage_that_ends_when_its_last_user_starts_has_no_verdict() -> None:
    result = report([(10, 9.0 + 1e-9)], responses(0.0, 9.0, 10.0, 0.1), spawn_rate=1.0)
    assert result.stages[0].users_reached == 10
    assert result.stages[0].measured_seconds < 1e-6 or result.stages[0].within_slo is None
    assert result.summary.max_users_within_slo is None


def test_ramp_does_not_dilute_a_stage() -> None:
    # 50 users start within the first 50 of 60 s. The server serves 20/s, so they wait 2.5 s, but
    # not in most of the ramp.
    stages = [(50, 60.0)]
    result = report(stages, closed_loop(stages, 1.0, 0.05), spawn_rate=1.0, slo={"p50Seconds": 2.0})
    assert result.summary.p50 is not None
    assert result.summary.p50 < 2000
    assert result.window is not None
    assert result.window.p50 == pytest.approx(50 / 20 * 1000, rel=0.01)
    assert result.window.measured_from_seconds == pytest.approx(49 + 0.2 * 11)
    assert result.window.requests_per_second == pytest.approx(20.0, rel=0.01)
    assert result.slo is not None
    assert not result.slo.met


def test_long_easy_stage_does_not_hide_a_hard_one() -> None:
    samples = [*responses(0.0, 600.0, 10.0, 0.1), *responses(600.0, 620.0, 10.0, 9.0, stage=1)]
    result = report([(10, 600.0), (100, 20.0)], samples)
    assert result.summary.p95 == 100.0
    assert result.slo is not None
    assert not result.slo.met
    assert result.window is not None
    assert (result.window.stage, result.window.users, result.window.p95) == (2, 100, 9000.0)


def test_stage_above_a_stage_beyond_the_slo_is_not_the_highest_within() -> None:
    samples = [
        *responses(0.0, 20.0, 10.0, 0.1),
        *responses(20.0, 40.0, 10.0, 5.0, stage=1),
        *responses(40.0, 60.0, 10.0, 0.1, stage=2),
    ]
    result = report([(10, 20.0), (20, 20.0), (30, 20.0)], samples)
    assert [stage.within_slo for stage in result.stages] == [True, False, True]
    assert result.summary.max_users_within_slo == 10


def test_requests_of_ramp_and_settling_are_discarded_from_the_stage_alone() -> None:
    result = report([(4, 10.0), (8, 10.0)], responses(0.0, 20.0, 10.0, 0.1), spawn_rate=2.0)
    first = result.stages[0]
    assert first.measured_from_seconds == pytest.approx(1.5 + 0.2 * 8.5)
    assert first.measured_seconds == pytest.approx(10 - first.measured_from_seconds)
    assert first.requests + first.discarded == 200
    assert result.summary.requests == 200


def test_ratio_of_two_targets_is_that_of_their_steady_states() -> None:
    # minRequests prolongs the last stage of the slow target only, whose ramp must not weigh less.
    stages = [(30, 40.0)]
    slow, fast = (
        report(
            stages, closed_loop([(30, 40.0 + more)], 1.0, service), spawn_rate=1.0, lengthened=more
        ).window
        for service, more in ((0.145, 200.0), (0.05, 0.0))
    )
    assert slow is not None
    assert fast is not None
    assert slow.measured_from_seconds == fast.measured_from_seconds
    assert slow.p50 is not None
    assert fast.p50 is not None
    assert slow.p50 / fast.p50 == pytest.approx(2.9, rel=0.02)


def test_interrupted_run_has_no_verdict() -> None:
    error = RunError(reason="Interrupted", message="The run was stopped after 20 s of load.")
    result = report([(4, 20.0)], responses(0.0, 20.0, 10.0, 0.1), error=error)
    assert result.slo is not None
    assert (result.slo.met, result.slo.reason, result.slo.checks) == (False, "Interrupted", ())
    assert result.slo.message == "no verdict: The run was stopped after 20 s of load."


def test_run_is_valid_by_the_samples_of_its_window() -> None:
    # The easy stage has 200 responses, and the window of the last one has 16.
    samples = [*responses(0.0, 20.0, 10.0, 0.1), *responses(20.0, 40.0, 1.0, 0.1, stage=1)]
    result = report([(4, 20.0), (8, 20.0)], samples)
    assert (result.valid.status, result.valid.reason) == (False, "TooFewSamples")


def test_descending_stages_are_measured_after_their_ramp_too() -> None:
    result: Any = report([(8, 10.0), (2, 10.0)], responses(0.0, 20.0, 10.0, 0.1), spawn_rate=2.0)
    # Six users stop, the first at once and the last 2.5 s later.
    assert result.stages[1].measured_from_seconds == pytest.approx(10 + 2.5 + 0.2 * 7.5)


def test_stage_with_few_requests_may_be_beyond_the_slo_and_is_never_within() -> None:
    # The 16 requests of the window bound no p95, which needs 59, but a median, which needs 5.
    few = responses(0.0, 20.0, 1.0, 0.1)
    assert report([(4, 20.0)], few).stages[0].within_slo is None
    assert report([(4, 20.0)], few).summary.max_users_within_slo is None
    assert report([(4, 20.0)], few, slo={"p50Seconds": 1.0}).stages[0].within_slo is True
    late = responses(0.0, 20.0, 1.0, 3.0)
    assert report([(4, 20.0)], late).stages[0].within_slo is False


def test_verdict_on_credibility_states_the_independent_draws() -> None:
    samples = [
        Sample(batch * 0.8 + 1.0 + member / 1e4, (0.2, 0.9)[batch % 3 == 0], 0, SUCCESS)
        for batch in range(75)
        for member in range(8)
    ]
    result = report([(8, 60.0)], samples)
    assert result.valid.status
    assert "480 successful requests, worth" in result.valid.message
