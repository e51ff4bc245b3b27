"""Detection of overload in the open loop. Pure.

The latencies of an overloaded target depend on the length of the load. A target sustains a rate if
it answers what arrives, so that neither the requests in flight nor the latency grow.
"""

from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from statistics import fmean

from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.report.figures import Window

MIN_ANSWERED_SHARE = 0.98
"""The share of the requests due in a window that as many responses in the same time must make."""
IN_FLIGHT_DEVIATIONS = 2.0
"""The growth that chance explains, in roots of the requests in flight.

Of a Poisson process's independent requests, the number in flight has a Poisson distribution.
"""
TREND_BLOCKS = 10
TREND_Z = 2.3
"""The normal quantile of 99%, for the statistic of Mann and Kendall (1945) with its variance."""
TREND_RATIO = 1.5
"""The growth of the mean latency, from the first third of a window to the last, that matters."""
_MIN_REQUESTS = 20


def overload(samples: Samples, window: Window) -> str | None:
    """Explains why the target was overloaded in a window of the open loop; None if it was not.

    `samples` are those of the whole run, since a window may have requests of the stage before.
    """
    if window.rate is None or window.seconds <= 0:
        return None
    spans = list(samples.spans())
    offered = sum(window.start <= start < window.end for start, _ in spans)
    answered = sum(window.start < end <= window.end for _, end in spans)
    if offered < _MIN_REQUESTS:
        return None
    inside = sum(max(0.0, min(b, window.end) - max(a, window.start)) for a, b in spans)
    in_flight = inside / window.seconds
    chance = IN_FLIGHT_DEVIATIONS * sqrt(in_flight)
    if offered - answered > (1 - MIN_ANSWERED_SHARE) * offered + chance:
        return (
            f"the target answered {answered / window.seconds:.4g} of "
            f"{offered / window.seconds:.4g} requests/s, so that requests in flight grew"
        )
    return _trend(samples, window)


def _trend(samples: Samples, window: Window) -> str | None:
    """Explains a growth of the latency within the window; None if chance explains it."""
    means = _block_means(samples, window)
    third = len(means) // 3
    if not third:
        return None
    first, last = fmean(means[:third]), fmean(means[-third:])
    if last < TREND_RATIO * first or mann_kendall(means) < TREND_Z:
        return None
    return f"the latency grew from {first:.3g} s to {last:.3g} s within the window"


def _block_means(samples: Samples, window: Window) -> list[float]:
    """The mean latency in seconds of the successes that start in each tenth of the window."""
    blocks: list[list[float]] = [[] for _ in range(TREND_BLOCKS)]
    for start, end in samples.success_spans():
        if window.start <= start < window.end:
            place = int((start - window.start) / window.seconds * TREND_BLOCKS)
            blocks[min(place, TREND_BLOCKS - 1)].append(end - start)
    return [fmean(block) for block in blocks if block]


def mann_kendall(values: Sequence[float]) -> float:
    """The standardised statistic of Mann and Kendall: 0 on average without a trend, positive if up.

    S sums the signs of all later differences; its variance is n(n-1)(2n+5)/18.
    """
    n = len(values)
    total = sum((b > a) - (b < a) for a, b in combinations(values, 2))
    return total / sqrt(n * (n - 1) * (2 * n + 5) / 18) if n > 1 else 0.0
