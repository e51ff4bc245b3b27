"""Support of a latency verdict: whether a window has enough independent draws for it. Pure."""

from collections.abc import Iterator, Sequence
from math import ceil, log10

from diffusion_loadtest.plan.load_plan import Slo
from diffusion_loadtest.report.intervals import MOST_LAGS, needed_draws, worth

UNDERESTIMATE = 2.0
"""The factor by which an estimate of draws may fall short of the true number.

Simulated for batches of 1 to 8: of estimates of 59 true draws, 5 in 100 are below 29.5.
"""


def support_missing(
    slo: Slo, latencies: Sequence[float], seconds: float, batches: int
) -> str | None:
    """Explains why the latencies support no verdict on the slo's percentiles; None if they do.

    `latencies` are those of the successes, in seconds and in the order in which they ended;
    `seconds` is the length of their window, `batches` the number in which they came. An upper bound
    of the quantile q needs as many draws as `needed_draws` says; responses of one batch are one.
    """
    for percent in _judged(slo):
        needed = needed_draws(percent / 100)
        least = min(len(latencies) / (1 + 2 * MOST_LAGS), batches)
        if least * UNDERESTIMATE >= needed:
            continue  # no dependence that the estimate can see leaves fewer
        draws = worth(latencies, percent, batches) if latencies else 0
        if 0 < draws * UNDERESTIMATE < needed:
            longer = _rounded_up(seconds * needed / draws)
            return (
                f"{len(latencies)} successful requests are worth {draws} independent draws, since "
                f"responses come in batches, and p{percent} needs {needed}: measure for "
                f"{longer:g} s instead of {seconds:.3g} s"
            )
    return None


def _judged(slo: Slo) -> Iterator[int]:
    """The percentiles that the slo limits, the highest one first."""
    limits = ((99, slo.p99_seconds), (95, slo.p95_seconds), (50, slo.p50_seconds))
    return (percent for percent, limit in limits if limit is not None)


def _rounded_up(seconds: float) -> float:
    """The seconds with two significant digits, rounded up."""
    unit = 10.0 ** (int(log10(max(seconds, 1.0))) - 1)
    return ceil(seconds / unit) * unit
