"""The verdict on the objectives; whether the figures are credible is `validity`'s."""

from collections.abc import Iterator

from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.load_report import Figures, Percentiles, SloCheck, SloVerdict


def judge(
    slo: Slo, latencies: Percentiles, failure_ratio: float, requests_per_second: float
) -> SloVerdict:
    """Compares each limit of the slo with its figure; a missing latency misses its limit."""
    checks = tuple(_checks(slo, latencies, failure_ratio, requests_per_second))
    missed = [_sentence(check) for check in checks if not check.met]
    message = "; ".join(missed) if missed else "every figure is within its limit"
    return SloVerdict(met=not missed, checks=checks, message=message)


def judge_figures(slo: Slo, figures: Figures) -> SloVerdict:
    """The verdict on a stage, or on a whole run."""
    latencies = Percentiles(p50=figures.p50, p95=figures.p95, p99=figures.p99)
    return judge(slo, latencies, figures.failure_ratio, figures.requests_per_second)


def _checks(
    slo: Slo, latencies: Percentiles, failure_ratio: float, requests_per_second: float
) -> Iterator[SloCheck]:
    limits = (
        ("p50", slo.p50_seconds, latencies.p50),
        ("p95", slo.p95_seconds, latencies.p95),
        ("p99", slo.p99_seconds, latencies.p99),
    )
    for name, seconds, value in limits:
        if seconds is not None:
            limit = seconds * 1000
            met = value is not None and value <= limit
            yield SloCheck(name=name, limit=limit, value=value, met=met)
    if (most := slo.max_failure_ratio) is not None:
        yield SloCheck(
            name="maxFailureRatio", limit=most, value=failure_ratio, met=failure_ratio <= most
        )
    if (least := slo.min_requests_per_second) is not None:
        yield SloCheck(
            name="minRequestsPerSecond",
            limit=least,
            value=requests_per_second,
            met=requests_per_second >= least,
        )


def _sentence(check: SloCheck) -> str:
    if check.value is None:
        return f"{check.name} has no value, since no request succeeded"
    if check.name == "maxFailureRatio":
        return f"a share of {check.value:.2%} failed instead of at most {check.limit:.2%}"
    if check.name == "minRequestsPerSecond":
        return f"{check.value:.3g} requests/s instead of at least {check.limit:.3g}"
    return f"{check.name} is {check.value:.0f} ms instead of at most {check.limit:.0f} ms"
