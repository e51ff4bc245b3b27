"""Confidence intervals of percentiles, for latencies that depend on one another. Pure.

Responses come in batches and requests wait in one queue, so latencies that end one after the other
are alike: 59 of them may be worth 7 draws. The number of independent draws n' replaces the number
of samples n in the interval of order statistics, which needs no assumption about their
distribution.
"""

from collections.abc import Sequence
from math import ceil, comb, fsum, log
from operator import mul
from statistics import NormalDist

from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.report.load_report import Interval

CONFIDENCE = 0.95
MOST_LAGS = 200
SAME = 0.01
"""The share by which latencies may differ and count as equal, since figures hold to within it."""
_EXACT_DRAWS = 400
"""The number of draws up to which ranks come from the binomial distribution itself."""


def interval(
    latencies: Sequence[float], percent: int, batches: int | None = None
) -> Interval | None:
    """The interval of a percentile of latencies in seconds, in the order in which they ended.

    None without a latency. An end of the interval is None where the draws are too few to bound the
    percentile on that side.
    """
    if not latencies:
        return None
    ordered = sorted(latencies)
    draws = worth(latencies, percent, batches)
    low, high = ranks(draws, percent / 100)
    return Interval(
        low=_at(ordered, None if low is None else low / draws),
        high=_at(ordered, None if high is None else high / draws),
        draws=draws,
    )


def _at(ordered: Sequence[float], share: float | None) -> float | None:
    if share is None:
        return None
    value = percentile(ordered, 100 * share)
    return None if value is None else round(value * 1000, 3)


def worth(latencies: Sequence[float], percent: int, batches: int | None = None) -> int:
    """The number of independent draws that a percentile of these latencies rests on.

    Few latencies exceed a high percentile and show little of their dependence, so the median's
    number counts as well. No more than `batches` count, the number in which the responses came, if
    it is known: batches of equal times show no dependence at all.
    """
    draws = min(independent_draws(latencies, each) for each in {50, percent})
    return draws if batches is None else min(draws, batches)


def independent_draws(latencies: Sequence[float], percent: int) -> int:
    """The number of independent draws that bound a percentile as well as these latencies.

    n' = n / (1 + 2 * sum of the autocorrelations), of the indicator that a latency exceeds the
    percentile by more than SAME: the order of equal latencies shows a machine's pauses and no
    batches. Where none exceeds it so, the indicator is that of latencies not below it. The sum ends
    before the first pair of lags that adds nothing (Geyer 1992).
    """
    limit = percentile(sorted(latencies), percent)
    if limit is None:
        return 0
    exceeds = [latency > limit * (1 + SAME) for latency in latencies]
    if not any(exceeds):
        exceeds = [latency >= limit * (1 - SAME) for latency in latencies]
    n = len(exceeds)
    share = sum(exceeds) / n
    variance = share * (1 - share)
    if not variance:
        return n
    centred = [float(each) - share for each in exceeds]

    def correlation(lag: int) -> float:
        return fsum(map(mul, centred, centred[lag:])) / (n * variance)

    total = 0.0
    for lag in range(1, min(MOST_LAGS, n // 2), 2):
        pair = correlation(lag) + correlation(lag + 1)
        if pair <= 0:
            break
        total += pair
    return max(1, round(n / (1 + 2 * total)))


def ranks(draws: int, share: float) -> tuple[int | None, int | None]:
    """The ranks, from 1 to `draws`, between whose values the quantile lies with CONFIDENCE.

    The number of draws below the quantile has a binomial distribution. A rank is None if no draw
    bounds the quantile with half of the remaining probability.
    """
    tail = (1 - CONFIDENCE) / 2
    if draws > _EXACT_DRAWS:
        width = NormalDist().inv_cdf(1 - tail) * (draws * share * (1 - share)) ** 0.5
        low, high = round(draws * share - width), round(draws * share + width) + 1
        return (low if low >= 1 else None), (high if high <= draws else None)
    below = 0.0
    lowest, highest = None, None
    for count in range(draws + 1):
        # `below` is the probability that fewer than `count` draws lie below the quantile
        if below <= tail and count >= 1:
            lowest = count
        if highest is None and 1 - below <= tail:
            highest = count
        below += comb(draws, count) * share**count * (1 - share) ** (draws - count)
    return lowest, highest


def needed_draws(quantile: float) -> int:
    """The draws whose largest exceeds the quantile with CONFIDENCE (Wilks 1941).

    That probability is 1 - q^n. With fewer draws, the quantile has no upper bound.
    """
    return ceil(log(1 - CONFIDENCE) / log(quantile))


NEEDED_FOR_P99 = needed_draws(0.99)
"""The least number of successes for a p99; with fewer, a p99 is a guess and is left out."""


def intervals(latencies: Sequence[float], batches: int | None = None) -> dict[str, Interval]:
    """The intervals of the percentiles that the report has, by name."""
    percents = (50, 95, 99) if len(latencies) >= NEEDED_FOR_P99 else (50, 95)
    named = {f"p{percent}": interval(latencies, percent, batches) for percent in percents}
    return {name: each for name, each in named.items() if each is not None}
