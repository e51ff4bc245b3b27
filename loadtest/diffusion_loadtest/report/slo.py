"""The verdict on the objectives; whether the figures are credible is `validity`'s."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.load_report import SloCheck, SloVerdict

WITHIN = "WithinSLO"
BEYOND = "BeyondSLO"
OVERLOADED = "Overloaded"


class Requests(NamedTuple):
    """Requests that a verdict judges.

    `latencies` are those of the successes, in seconds and ascending.
    """

    latencies: Sequence[float]
    failures: int
    requests_per_second: float

    @classmethod
    def of(cls, samples: Samples, requests_per_second: float) -> "Requests":
        return cls(samples.latencies(), samples.failures, requests_per_second)

    @property
    def failure_ratio(self) -> float | None:
        """The share of requests that failed; None without a request."""
        count = len(self.latencies) + self.failures
        return round(self.failures / count, 6) if count else None


def judge(slo: Slo, requests: Requests, overload: str | None = None) -> SloVerdict:
    """Compares each limit of the slo with its figure; an overloaded target misses the slo.

    A failed request is beyond any latency limit, so a latency's rank is over all requests. A figure
    without a request misses its limit.
    """
    checks = tuple(_checks(slo, requests))
    missed = [_sentence(check) for check in checks if not check.met]
    if requests.failure_ratio is None:
        missed = ["no request has ended"]
    if overload is not None:
        message = "; ".join([overload, *missed])
        return SloVerdict(met=False, reason=OVERLOADED, checks=checks, message=message)
    if missed:
        return SloVerdict(met=False, reason=BEYOND, checks=checks, message="; ".join(missed))
    message = "every figure is within its limit"
    return SloVerdict(met=True, reason=WITHIN, checks=checks, message=message)


def unknown(reason: str, message: str) -> SloVerdict:
    """The verdict of a run without figures to judge."""
    return SloVerdict(met=False, reason=reason, checks=(), message=f"no verdict: {message}")


def _checks(slo: Slo, requests: Requests) -> Iterator[SloCheck]:
    limits = ((50, slo.p50_seconds), (95, slo.p95_seconds), (99, slo.p99_seconds))
    for percent, seconds in limits:
        if seconds is not None:
            limit = seconds * 1000
            latency = percentile(requests.latencies, percent, requests.failures)
            value = None if latency is None else round(latency * 1000, 3)
            met = value is not None and value <= limit
            yield SloCheck(name=f"p{percent}", limit=limit, value=value, met=met)
    ratio, most = requests.failure_ratio, slo.max_failure_ratio
    met = ratio is not None and ratio <= most
    yield SloCheck(name="maxFailureRatio", limit=most, value=ratio, met=met)
    if (least := slo.min_requests_per_second) is not None:
        yield SloCheck(
            name="minRequestsPerSecond",
            limit=least,
            value=requests.requests_per_second,
            met=requests.requests_per_second >= least,
        )


def _sentence(check: SloCheck) -> str:
    if check.value is None:
        return f"{check.name} has no value, since the request of its rank failed"
    if check.name == "maxFailureRatio":
        return f"a share of {check.value:.2%} failed instead of at most {check.limit:.2%}"
    if check.name == "minRequestsPerSecond":
        return f"{check.value:.3g} requests/s instead of at least {check.limit:.3g}"
    return f"{check.name} is {check.value:.0f} ms instead of at most {check.limit:.0f} ms"
