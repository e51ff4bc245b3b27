import random
from itertools import pairwise

import pytest

from diffusion_loadtest.figures import (
    TIMELINE_POINTS,
    peak_rate,
    run_seconds,
    stage_figures,
    summary_of,
    timeline,
)
from diffusion_loadtest.plan import Stage
from diffusion_loadtest.report import Progress, Report, TargetFound
from diffusion_loadtest.samples import SUCCESS, Sample, Samples


def samples_of(*recorded: tuple[float, float, int, str | None]) -> Samples:
    samples = Samples()
    for sample in recorded:
        samples.record(Sample(*sample))
    return samples


def stage(users: int, seconds: float) -> Stage:
    return Stage(users=users, duration_seconds=seconds)


def test_failures_are_counted_by_kind_and_kept_out_of_the_latencies() -> None:
    samples = samples_of(
        (1.0, 0.1, 0, SUCCESS), (2.0, 9.0, 0, "Timeout"), (3.0, 0.3, 0, SUCCESS), (4.0, 0, 0, "X")
    )
    summary = summary_of(samples, 4.0, 2)
    assert (summary.requests, summary.failures) == (4, 2)
    assert summary.failures_by_kind == {"Timeout": 1, "X": 1}
    assert (summary.p50, summary.p95, summary.p99) == (100.0, 300.0, 300.0)
    assert (summary.requests_per_second, summary.failures_per_second) == (0.5, 0.5)


def test_run_without_a_success_has_no_latency() -> None:
    summary = summary_of(samples_of((1.0, 0.5, 0, "HTTP503")), 2.0, 1)
    assert (summary.p50, summary.p95, summary.p99) == (None, None, None)
    assert (summary.requests_per_second, summary.peak_requests_per_second) == (0.0, 0.0)


def test_run_lasts_until_its_last_success_but_not_until_a_late_failure() -> None:
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
    first, second = stage_figures(samples, [stage(5, 10), stage(9, 10)], 25.0)
    assert (first.users, first.requests, first.failures) == (5, 2, 0)
    assert (first.p50, first.p99) == (1000.0, 9000.0)
    assert (second.users, second.requests, second.failures) == (9, 3, 1)
    assert (second.p50, second.p99) == (500.0, 6000.0)
    assert first.requests_per_second == 0.1
    assert second.requests_per_second == round(3 / 15, 6)


def test_stages_that_an_interrupted_run_never_reached_are_left_out() -> None:
    stages = [stage(1, 10), stage(2, 10), stage(3, 10)]
    found = stage_figures(samples_of((11.0, 1.0, 1, SUCCESS)), stages, 12.0)
    assert [f.users for f in found] == [1, 2]
    assert found[1].requests_per_second == 0.5


def test_peak_is_the_best_ten_seconds() -> None:
    slow = [float(second) for second in range(60)]
    burst = [30.5 + n / 100 for n in range(20)]
    assert peak_rate(sorted(slow + burst), 60.0) == 3.0
    assert peak_rate(slow, 60.0) == 1.0
    assert peak_rate([0.5, 1.0], 4.0) == 0.5


def test_timeline_has_a_point_per_second_with_what_arrived_in_it() -> None:
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


def test_largest_report_fits_its_config_map() -> None:
    chance = random.Random(5)
    stages = [stage(100_000, 6048.0)] * 100
    seconds = 6048.0 * 100
    samples = samples_of(
        *(
            (
                n * seconds / 60_000,
                chance.random() * 1000,
                n // 600,
                SUCCESS if n % 2 else f"HTTP{n % 1000}",
            )
            for n in range(60_000)
        )
    )
    report = Report(
        run="r" * 253,
        start_time="2026-01-01T00:00:00Z",
        completion_time="2026-01-08T00:00:00Z",
        target=TargetFound(url="u" * 2048, about={"x": "y" * 65_000}),
        summary=summary_of(samples, seconds, 100_000),
        stages=stage_figures(samples, stages, seconds),
        timeline=timeline(samples, [(0.0, 100_000)], seconds),
    )
    text = report.model_dump_json(by_alias=True)
    assert len(text.encode()) < 250 * 1024
    assert Report.model_validate_json(text) == report


def test_report_is_spelled_as_its_readers_expect() -> None:
    summary = summary_of(samples_of((1.0, 0.1, 0, SUCCESS)), 2.0, 1).model_dump(by_alias=True)
    assert set(summary) == {
        *("requests", "failures", "failuresByKind", "requestsPerSecond", "peakRequestsPerSecond"),
        *("failuresPerSecond", "p50", "p95", "p99", "maxUsers"),
    }
    progress = Progress(
        run="r", state="Running", stage=1, stages=3, users=10, requests=123, failures=0,
        requests_per_second=2.1, elapsed_seconds=12.0,
    )  # fmt: skip
    assert progress.model_dump(by_alias=True) == {
        "version": 1, "run": "r", "state": "Running", "stage": 1, "stages": 3, "users": 10,
        "requests": 123, "failures": 0, "requestsPerSecond": 2.1, "elapsedSeconds": 12.0,
        "message": None,
    }  # fmt: skip
