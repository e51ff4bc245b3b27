import pytest

from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.slo import Requests, judge

SLO = Slo(
    p50_seconds=0.5, p95_seconds=1.0, p99_seconds=2.0,
    max_failure_ratio=0.01, min_requests_per_second=4.0,
)  # fmt: skip
# One of a hundred requests may fail, and counts as the latest.
GOOD = [0.5] * 50 + [0.9] * 48 + [2.0]


def test_figures_at_their_limits_are_good() -> None:
    verdict = judge(SLO, Requests(GOOD, 1, 4.0))
    assert verdict.met
    assert [(check.name, check.limit, check.value) for check in verdict.checks] == [
        ("p50", 500.0, 500.0),
        ("p95", 1000.0, 900.0),
        ("p99", 2000.0, 2000.0),
        ("maxFailureRatio", 0.01, 0.01),
        ("minRequestsPerSecond", 4.0, 4.0),
    ]


@pytest.mark.parametrize(
    ("latencies", "failures", "rate", "sentence"),
    [
        ([0.5001] * 100, 0, 9.0, "p50 is 500 ms instead of at most 500"),
        ([0.5] * 90 + [1.3] * 10, 0, 9.0, "p95 is 1300 ms instead of at most"),
        (GOOD[:98], 2, 9.0, "a share of 2.00% failed instead of at most 1.00%"),
        (GOOD, 0, 3.9, "3.9 requests/s instead of at least 4"),
        ([], 9, 0.0, "p50 has no value"),
    ],
)
def test_figure_beyond_its_limit_is_named(
    latencies: list[float], failures: int, rate: float, sentence: str
) -> None:
    verdict = judge(SLO, Requests(latencies, failures, rate))
    assert not verdict.met
    assert sentence in verdict.message


def test_only_limits_of_the_slo_are_checked_and_that_of_failures_always() -> None:
    verdict = judge(Slo(p95_seconds=1.0), Requests([1.0] * 99 + [9e9], 0, 0.0))
    assert verdict.met
    assert [check.name for check in verdict.checks] == ["p95", "maxFailureRatio"]
