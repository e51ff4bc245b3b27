import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.measure.histogram import histogram
from diffusion_loadtest.measure.samples import NOT_SENT, SUCCESS, Sample, Samples
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.plan.search import Probe
from diffusion_loadtest.report.figures import Window
from diffusion_loadtest.report.load_report import Histogram, Report
from diffusion_loadtest.report.outcome import Outcome, report_of
from diffusion_loadtest.report.validity import Observations

MOST_BYTES = 900 * 1024
SLO = {"p95Seconds": 0.35, "maxFailureRatio": 0.1}


def plan(load: dict[str, Any], **more: Any) -> LoadPlan:
    return LoadPlan.model_validate(
        {
            "version": 1,
            "test": {"name": "demo", "namespace": "default", "run": "abc"},
            "target": {"url": "http://demo"},
            **load,
            **more,
        }
    )


def staged(*users: int, seconds: float = 10.0, **more: Any) -> LoadPlan:
    stages = [{"users": count, "durationSeconds": seconds} for count in users]
    return plan({"users": {"stages": stages, "spawnRate": 100.0}}, **more)


def outcome(load_plan: LoadPlan, samples: list[Sample], **changes: Any) -> Outcome:
    recorded = Samples()
    for sample in sorted(samples, key=lambda sample: sample.ended):
        recorded.record(sample)
    calm = [ClientUsage(float(second), 0.2, 0.001) for second in range(20)]
    return replace(
        Outcome(
            plan=load_plan,
            samples=recorded,
            windows=[Window(0, 0.0, 10.0, 4), Window(1, 10.0, 20.0, 8)],
            user_changes=[(0.0, 4), (10.0, 8)],
            probes=(),
            load_seconds=20.0,
            observations=Observations(client_usage=[calm, calm]),
            about={"backend": "fastapi", "revision": "r1"},
            about_after={"backend": "fastapi", "revision": "r1", "usage": {"energy_joules": 9}},
            started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            completed=datetime(2026, 1, 2, 3, 4, 25, tzinfo=UTC),
            error=None,
        ),
        **changes,
    )


def steady(stage: int, begin: float, latency: float, count: int = 100) -> list[Sample]:
    """`count` successes, spread over ten seconds."""
    return [
        Sample(begin + n / count * 9.5 + latency, latency, stage, SUCCESS) for n in range(count)
    ]


def test_stages_are_judged_one_by_one_and_the_run_as_a_whole() -> None:
    samples = [*steady(0, 0.0, 0.2), *steady(1, 10.0, 0.5)]
    report = report_of(outcome(staged(4, 8, slo=SLO), samples))
    assert [stage.within_slo for stage in report.stages] == [True, False]
    assert (report.summary.max_users_within_slo, report.summary.max_users) == (4, 8)
    assert report.slo is not None
    assert (report.slo.met, report.slo.message) == (
        False,
        "p95 is 500 ms instead of at most 350 ms",
    )
    assert (report.valid.status, report.valid.reason) == (True, "Measured")
    assert (report.start_time, report.completion_time) == (
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:25Z",
    )
    assert sum(count for _, count in report.histogram.buckets) == 200


def test_without_an_slo_nothing_is_judged() -> None:
    report = report_of(outcome(staged(4, 8), steady(0, 0.0, 0.2)))
    assert report.slo is None
    assert [stage.within_slo for stage in report.stages] == [None, None]


def test_run_whose_every_request_failed_is_an_error_and_not_valid() -> None:
    failures = [Sample(n / 10, 0.01, 0, "HTTP503") for n in range(100)]
    report = report_of(outcome(staged(4, 8, slo={"maxFailureRatio": 1.0}), failures))
    assert report.error is not None
    assert report.error.reason == "AllRequestsFailed"
    assert "100 HTTP503" in report.error.message
    assert (report.valid.status, report.valid.reason) == (False, "AllRequestsFailed")


def test_run_without_a_request_is_an_error() -> None:
    report = report_of(outcome(staged(4, 8), []))
    assert report.error is not None
    assert report.error.reason == "NoRequests"
    assert report.summary.requests == 0


def test_requests_that_were_not_sent_are_failures_and_the_clients_fault() -> None:
    samples = [*steady(0, 0.0, 0.2), Sample(5.0, 0.0, 0, NOT_SENT)]
    report = report_of(outcome(staged(4, 8), samples))
    assert report.summary.failures_by_kind == {NOT_SENT: 1}
    assert report.valid.reason == "ClientSaturated"


def test_open_loop_counts_requests_in_flight_as_users() -> None:
    arrivals = {"stages": [{"ratePerSecond": 10, "durationSeconds": 10}]}
    windows = [Window(0, 0.0, 10.0, 0, 10.0)]
    samples = [Sample(n / 10 + 1.55, 1.55, 0, SUCCESS) for n in range(100)]
    report = report_of(
        outcome(
            plan({"arrivals": arrivals}),
            samples,
            windows=windows,
            user_changes=(),
            load_seconds=10.0,
        )
    )
    assert (report.stages[0].users, report.stages[0].rate_per_second) == (16, 10.0)
    assert (report.summary.max_users, max(point.users for point in report.timeline)) == (16, 16)
    # requests in flight at the end are awaited, and their responses are in no rate
    assert report.summary.requests_per_second == 8.5


def probes(*levels: tuple[float, float, bool]) -> Outcome:
    """A search over users; a probe is its level, its latency, and whether it was within."""
    samples, windows, probed = [], [], []
    for number, (level, latency, within) in enumerate(levels):
        begin = number * 20.0
        settling = Sample(begin + 1.0, 9.0, number, SUCCESS, measured=False)
        samples += [settling, *steady(number, begin + 2.0, latency)]
        windows.append(Window(number, begin + 2.0, begin + 12.0, int(level)))
        probed.append(Probe(level, within))
    load_plan = plan(
        {"search": {"over": "users", "min": 1, "max": 8, "probeSeconds": 10}},
        slo={"p95Seconds": 0.35},
    )
    return outcome(load_plan, samples, windows=windows, probes=probed, load_seconds=200.0)


def test_search_reports_the_knee_and_the_curve_and_sums_up_the_knees_last_probe() -> None:
    report = report_of(
        probes(
            (1, 0.1, True),
            (2, 0.2, True),
            (4, 0.4, False),
            (4, 0.4, False),
            (3, 0.3, True),
            (3, 0.31, True),
        )
    )
    search = report.search
    assert search is not None
    assert (search.knee, search.confirmed, search.step, search.at_max) == (3.0, True, 1.0, False)
    assert [(point.level, point.p50, point.within_slo) for point in search.curve] == [
        (1.0, 100.0, True),
        (2.0, 200.0, True),
        (3.0, 310.0, True),
        (4.0, 400.0, False),
    ]
    assert [stage.users for stage in report.stages] == [1, 2, 4, 4, 3, 3]
    assert (report.summary.p50, report.summary.requests, report.summary.discarded) == (
        310.0,
        100,
        1,
    )
    assert report.summary.requests_per_second == report.stages[-1].requests_per_second
    assert report.summary.max_users_within_slo == 3
    assert report.slo is not None
    assert report.slo.met


def test_search_whose_knee_held_once_has_no_verdict() -> None:
    report = report_of(probes((1, 0.1, True), (2, 0.4, False), (2, 0.4, False)))
    assert report.search is not None
    assert (report.search.knee, report.search.confirmed) == (1.0, False)
    assert report.slo is not None
    assert (report.slo.met, report.slo.reason) == (False, "Unconfirmed")


def test_search_without_a_knee_does_not_meet_its_slo() -> None:
    report = report_of(probes((1, 0.5, False)))
    assert report.search is not None
    assert report.search.knee is None
    assert report.slo is not None
    assert not report.slo.met
    assert (report.summary.p50, report.summary.max_users_within_slo) == (500.0, None)
    assert report.valid.status


def test_warm_up_is_reported_and_a_failed_warm_up_makes_the_run_invalid() -> None:
    observations = Observations(client_usage=(), warmup_requests=5, warmup_failures=5)
    report = report_of(outcome(staged(4, 8), steady(0, 0.0, 0.2), observations=observations))
    assert report.summary.discarded == 5
    assert report.valid.reason == "WarmupFailed"


def test_client_figures_are_those_of_the_busiest_worker() -> None:
    client_usage = [
        [ClientUsage(1.0, 0.2, 0.004), ClientUsage(2.0, 0.4, 0.0)],
        [ClientUsage(1.0, 0.1, 0.003)],
        [],
    ]
    observations = Observations(client_usage=client_usage)
    client = report_of(outcome(staged(4, workers=3), [], observations=observations)).client
    assert (client.workers, client.cpu, client.lag) == (3, 0.3, 3.0)


def test_largest_report_fits_its_config_map() -> None:
    chance = random.Random(5)
    load_plan = staged(*[100_000] * 100, seconds=6048.0, slo=SLO)
    windows = [Window(n, n * 6048.0, (n + 1) * 6048.0, 100_000) for n in range(100)]
    seconds = 6048.0 * 100
    # as many different latencies as a histogram can tell apart, and failures of many kinds
    samples = [
        Sample(
            n * seconds / 40_000,
            0.001 * 1000 ** chance.uniform(0, 2.05),
            n // 400,
            SUCCESS if n % 10 else f"HTTP{n // 10 % 1000}",
            True,
            (1234.567, 123.456, 12345.678, 1234.567, 123.456),
        )
        for n in range(40_000)
    ]
    report = report_of(
        outcome(
            load_plan,
            samples,
            windows=windows,
            user_changes=[(0.0, 100_000)],
            load_seconds=seconds,
            about={"x": "y" * 65_000},
            about_after={"x": "y" * 65_000},
        )
    )
    assert len(report.histogram.buckets) > 6000
    assert len(report.timeline) <= 600
    text = report.model_dump_json(by_alias=True)
    assert len(text.encode()) < MOST_BYTES * 2 // 3
    assert Report.model_validate_json(text) == report


def test_fullest_histogram_leaves_room_for_the_rest_of_the_report() -> None:
    # a latency in every bucket up to an hour, which is the longest timeout that a LoadTest may have
    bounds = [
        *range(1, 2048),
        *(step << shift for shift in range(1, 22) for step in range(1024, 2048)),
    ]
    buckets = histogram(bound / 1e6 for bound in bounds)
    assert len(buckets) == len(set(bounds))
    counted = tuple((bound, 99_999) for bound, _ in buckets)
    text = Histogram(max_relative_error=0.001, buckets=counted).model_dump_json()
    assert len(text) < MOST_BYTES // 2
