import pytest

from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.load_report import Percentiles
from diffusion_loadtest.report.slo import judge

SLO = Slo(
    p50_seconds=0.5, p95_seconds=1.0, p99_seconds=2.0,
    max_failure_ratio=0.01, min_requests_per_second=4.0,
)  # fmt: skip
GOOD = Percentiles(p50=500.0, p95=900.0, p99=2000.0)


def test_figures_at_their_limits_are_good() -> None:
    verdict = judge(SLO, GOOD, 0.01, 4.0)
    assert verdict.met
    assert [(check.name, check.limit, check.value) for check in verdict.checks] == [
        ("p50", 500.0, 500.0),
        ("p95", 1000.0, 900.0),
        ("p99", 2000.0, 2000.0),
        ("maxFailureRatio", 0.01, 0.01),
        ("minRequestsPerSecond", 4.0, 4.0),
    ]


@pytest.mark.parametrize(
    ("latencies", "ratio", "rate", "sentence"),
    [
        (GOOD.model_copy(update={"p50": 500.1}), 0.0, 9.0, "p50 is 500 ms instead of at most 500"),
        (GOOD.model_copy(update={"p95": 1300.0}), 0.0, 9.0, "p95 is 1300 ms instead of at most"),
        (GOOD, 0.02, 9.0, "a share of 2.00% failed instead of at most 1.00%"),
        (GOOD, 0.0, 3.9, "3.9 requests/s instead of at least 4"),
        (Percentiles(p50=None, p95=None, p99=None), 1.0, 0.0, "p50 has no value"),
    ],
)
def test_figure_beyond_its_limit_is_named(
    latencies: Percentiles, ratio: float, rate: float, sentence: str
) -> None:
    verdict = judge(SLO, latencies, ratio, rate)
    assert not verdict.met
    assert sentence in verdict.message


def test_only_limits_that_are_set_are_checked() -> None:
    verdict = judge(Slo(p95_seconds=1.0), Percentiles(p50=9e9, p95=1.0, p99=9e9), 0.9, 0.0)
    assert verdict.met
    assert [check.name for check in verdict.checks] == ["p95"]
