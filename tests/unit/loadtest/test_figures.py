import math
import random
from itertools import pairwise

import pytest

from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.measure.server_timing import UNKNOWN
from diffusion_loadtest.report.figures import (
    TIMELINE_POINTS,
    Window,
    highest_within,
    in_flight,
    most_users,
    peak_rate,
    run_seconds,
    stage_figures,
    summary_of,
    timeline,
    timing_figures,
)
from diffusion_loadtest.report.load_report import Progress, StageFigures


def samples_of(*recorded: tuple[float, float, int, str | None]) -> Samples:
    samples = Samples()
    for sample in recorded:
        samples.record(Sample(*sample))
    return samples


def whole(seconds: float, users: int = 1) -> Window:
    return Window(0, 0.0, seconds, users)


def test_the_report_says_how_much_of_the_load_was_refused() -> None:
    failures = ("HTTP429", "HTTP503", "HTTP500", SUCCESS)
    samples = samples_of(*((1.0, 0.1, 0, failure) for failure in failures))
    assert summary_of(samples, whole(2.0), discarded=0).refused == 2


def test_failures_are_counted_by_kind_and_kept_out_of_the_latencies() -> None:
    samples = samples_of(
        (1.0, 0.1, 0, SUCCESS), (2.0, 9.0, 0, "Timeout"), (3.0, 0.3, 0, SUCCESS), (4.0, 0, 0, "X")
    )
    summary = summary_of(samples, whole(4.0, 2), discarded=0)
    assert (summary.requests, summary.failures, summary.failure_ratio) == (4, 2, 0.5)
    assert summary.failures_by_kind == {"Timeout": 1, "X": 1}
    assert (summary.p50, summary.p95, summary.p99) == (100.0, 300.0, None)
    assert (summary.mean, summary.max) == (200.0, 300.0)
    assert (summary.requests_per_second, summary.failures_per_second) == (0.5, 0.5)
    assert (summary.seconds, summary.max_users) == (4.0, 2)


def test_run_without_a_success_has_no_latency() -> None:
    summary = summary_of(samples_of((1.0, 0.5, 0, "HTTP503")), whole(2.0), discarded=0)
    assert (summary.p50, summary.p95, summary.p99, summary.mean, summary.max) == (None,) * 5
    assert (summary.requests_per_second, summary.peak_requests_per_second) == (0.0, 0.0)
    assert summary.timings == {}


def test_unmeasured_requests_count_as_discarded_and_for_nothing_else() -> None:
    samples = Samples()
    for ended, failure in ((1.0, SUCCESS), (1.5, "HTTP500")):
        samples.record(Sample(ended, 5.0, 0, failure, measured=False))
    for sample in samples_of((3.0, 0.2, 0, SUCCESS), (3.5, 0.4, 0, "Timeout")):
        samples.record(sample)
    summary = summary_of(samples, whole(4.0), discarded=7)
    assert (summary.requests, summary.failures, summary.discarded) == (2, 1, 9)
    assert (summary.max, summary.failures_by_kind) == (200.0, {"Timeout": 1})
    stage = stage_figures(samples, Window(0, 2.0, 4.0, 1))
    assert (stage.requests, stage.failures, stage.discarded) == (2, 1, 2)
    assert stage.requests_per_second == 0.5


def test_timeline_lasts_until_the_last_success_but_not_until_a_late_failure() -> None:
    assert run_seconds(samples_of((12.0, 3.0, 0, SUCCESS), (60.0, 60.0, 0, "Timeout")), 10.0) == 12
    assert run_seconds(samples_of((8.0, 3.0, 0, SUCCESS), (60.0, 60.0, 0, "Timeout")), 10.0) == 10
    assert run_seconds(Samples(), 10.0) == 10


def test_request_belongs_to_the_stage_it_was_begun_in_and_its_arrival_to_the_one_it_ended_in() -> (
    None
):
    samples = samples_of(
        (1.0, 1.0, 0, SUCCESS),
        (11.0, 9.0, 0, SUCCESS),  # begun in the first stage, answered in the second
        (12.0, 0.5, 1, SUCCESS),
        (13.0, 0.5, 1, "HTTP429"),
        (25.0, 6.0, 1, SUCCESS),  # answered after the load
    )
    first = stage_figures(samples, Window(0, 0.0, 10.0, 5))
    second = stage_figures(samples, Window(1, 10.0, 20.0, 9))
    assert (first.users, first.requests, first.failures) == (5, 2, 0)
    assert (first.p50, first.p95) == (1000.0, 9000.0)
    assert (second.users, second.requests, second.failures) == (9, 3, 1)
    assert (second.p50, second.p95) == (500.0, 6000.0)
    assert (second.start_seconds, second.duration_seconds) == (10.0, 10.0)
    assert first.requests_per_second == 0.1
    assert second.requests_per_second == 0.2


def test_latency_is_split_as_the_target_reports_and_the_rest_is_other() -> None:
    samples = Samples()
    samples.record(Sample(1.0, 0.120, 0, SUCCESS, True, (10.0, 5.0, 60.0, 20.0, 5.0)))
    samples.record(Sample(2.0, 0.300, 0, SUCCESS, True, (200.0, 5.0, 60.0, 20.0, math.nan)))
    samples.record(Sample(3.0, 9.0, 0, "HTTP500", True, (9000.0, 9.0, 9.0, 9.0, 9.0)))
    samples.record(Sample(4.0, 0.1, 0, SUCCESS, True, UNKNOWN))
    timings = timing_figures(samples)
    assert set(timings) == {"queue", "textEncoder", "denoise", "vae", "encode", "other"}
    assert (timings["queue"].mean, timings["queue"].p50, timings["queue"].p95) == (
        105.0,
        10.0,
        200.0,
    )
    assert (timings["encode"].mean, timings["other"].mean) == (5.0, 20.0)
    assert timing_figures(samples_of((1.0, 0.1, 0, SUCCESS))) == {}


def test_requests_in_flight_are_those_begun_and_not_yet_answered() -> None:
    samples = samples_of((2.0, 2.0, 0, SUCCESS), (3.0, 2.0, 0, "Timeout"), (5.0, 1.0, 0, SUCCESS))
    assert in_flight(samples) == [(0.0, 1), (1.0, 2), (2.0, 1), (3.0, 0), (4.0, 1), (5.0, 0)]
    assert most_users(in_flight(samples), Window(0, 0.0, 10.0, 0)) == 2
    assert most_users(in_flight(samples), Window(0, 2.5, 3.5, 0)) == 1
    assert most_users(in_flight(samples), Window(0, 3.0, 3.5, 0)) == 0


def test_highest_load_within_the_slo_is_that_of_the_largest_stage_within_it() -> None:
    def stage(users: int, rate: float | None, *, within: bool | None) -> StageFigures:
        figures = stage_figures(Samples(), Window(0, 0.0, 1.0, users, rate))
        return figures.model_copy(update={"within_slo": within})

    staged = [
        stage(5, None, within=True),
        stage(9, None, within=True),
        stage(20, None, within=False),
    ]
    assert highest_within(staged) == {"max_users_within_slo": 9, "max_rate_within_slo": None}
    rates = [stage(30, 2.5, within=True), stage(40, 5.0, within=False)]
    assert highest_within(rates) == {"max_users_within_slo": None, "max_rate_within_slo": 2.5}
    assert highest_within([stage(5, None, within=None)]) == {
        "max_users_within_slo": None,
        "max_rate_within_slo": None,
    }


def test_peak_is_the_best_ten_seconds() -> None:
    slow = [float(second) for second in range(60)]
    burst = [30.5 + n / 100 for n in range(20)]
    assert peak_rate(sorted(slow + burst), 60.0) == 3.0
    assert peak_rate(slow, 60.0) == 1.0
    assert peak_rate([0.5, 1.0], 4.0) == 0.5


def test_timeline_has_a_point_per_second_with_the_responses_of_that_second() -> None:
    samples = samples_of(
        (0.5, 0.5, 0, SUCCESS), (1.2, 0.2, 0, SUCCESS), (1.9, 0.4, 0, SUCCESS), (2.5, 1, 0, "X")
    )
    points = timeline(samples, [(0.0, 1), (1.5, 2), (2.0, 3)], 3.0)
    assert [p.t for p in points] == [0, 1, 2]
    assert [p.users for p in points] == [1, 2, 3]
    assert [p.requests_per_second for p in points] == [1, 2, 0]
    assert [p.failures_per_second for p in points] == [0, 0, 1]
    assert [p.p95 for p in points] == [500.0, 400.0, None]


def test_last_interval_of_the_timeline_is_neither_a_sliver_nor_lost() -> None:
    samples = samples_of((9.5, 0.5, 0, SUCCESS), (10.01, 0.5, 0, SUCCESS))
    points = timeline(samples, [(0.0, 1)], 10.01)
    assert len(points) == 10
    assert points[-1].requests_per_second == pytest.approx(2 / 1.01, rel=1e-4)


@pytest.mark.parametrize("seconds", [0.2, 599.6, 600.4, 601, 3600, 90_000.5, 700_000])
def test_timeline_stays_short_and_loses_no_response(seconds: float) -> None:
    chance = random.Random(3)
    ends = sorted(chance.uniform(0, seconds) for _ in range(2000))
    samples = samples_of(*((end, 0.1, 0, SUCCESS) for end in ends))
    points = timeline(samples, [(0.0, 4)], seconds)
    assert 1 <= len(points) <= TIMELINE_POINTS
    widths = [b.t - a.t for a, b in pairwise(points)] + [seconds - points[-1].t]
    arrived = sum(p.requests_per_second * w for p, w in zip(points, widths, strict=True))
    assert arrived == pytest.approx(2000, rel=1e-3)
    assert {p.users for p in points} == {4}


def test_summary_and_progress_are_spelled_as_their_readers_expect() -> None:
    samples = samples_of((1.0, 0.1, 0, SUCCESS))
    summary = summary_of(samples, whole(2.0), discarded=0).model_dump(by_alias=True)
    assert set(summary) == {
        *("requests", "failures", "failuresByKind", "refused"),
        *("requestsPerSecond", "peakRequestsPerSecond"),
        *("failuresPerSecond", "p50", "p95", "p99", "mean", "max", "maxUsers", "discarded"),
        *("failureRatio", "seconds", "timings", "maxUsersWithinSlo", "maxRateWithinSlo"),
    }
    progress = Progress(
        run="r", state="Running", phase="Load", stage=1, stages=3, users=10, requests=123,
        failures=0, requests_per_second=2.1, elapsed_seconds=12.0, p50=81.5, p95=90.25,
    )  # fmt: skip
    assert progress.model_dump(by_alias=True) == {
        "version": 1, "run": "r", "state": "Running", "phase": "Load", "stage": 1, "stages": 3,
        "users": 10, "ratePerSecond": None, "requests": 123, "failures": 0,
        "requestsPerSecond": 2.1, "p50": 81.5, "p95": 90.25, "elapsedSeconds": 12.0,
        "workers": 1, "workersConnected": 1, "message": None,
    }  # fmt: skip
