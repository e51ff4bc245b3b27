"""Statistics of a few repetitions: intervals and tests.

Figures such as requests per second are positive and vary in proportion to their size, so all
computations use logarithms: a difference is a ratio, a mean is geometric.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import mpmath

CONFIDENCE = 0.95
"""Confidence of the intervals."""

SMALLEST_P = 1e-9
"""Least p value: a few rounded figures can't support a smaller one."""


@dataclass(frozen=True)
class Interval:
    """Mean and its confidence interval; `low` and `high` are None for one value."""

    mean: float
    low: float | None
    high: float | None


def p_value(t: float, degrees: float) -> float:
    """Two-sided p of Student's t: the regularised incomplete beta function I_x(df/2, 1/2).

    Abramowitz and Stegun, 26.5.27; for whole degrees of freedom the finite series of 26.7.3 and
    26.7.4, which is faster. At least `SMALLEST_P`.
    """
    if degrees == int(degrees):
        return max(SMALLEST_P, 1 - _central_share(abs(t), int(degrees)))
    x = degrees / (degrees + t * t)
    return max(SMALLEST_P, float(mpmath.betainc(degrees / 2, 0.5, 0, x, regularized=True)))


def _central_share(t: float, degrees: int) -> float:
    """Probability of a Student's t between -t and t, for whole degrees of freedom."""
    theta = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1, (degrees - odd) // 2 + 1):
        total += term
        term *= cosine * cosine * (2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


@lru_cache(maxsize=256)
def critical_t(p: float, degrees: float) -> float:
    """Critical t for a two-sided `p` (0 < p < 1), by bisection to one part in a million."""
    low, high = 0.0, 1.0
    while p_value(high, degrees) > p:
        high *= 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        if p_value(middle, degrees) > p:
            low = middle
        else:
            high = middle
    return high


def interval(values: Sequence[float], least_variance: float = 0.0) -> Interval:
    """Geometric mean of positive values with its t interval; needs at least one value.

    `least_variance` is that of the logarithms' rounding: equal figures are no proof of no scatter.
    """
    logs = [math.log(value) for value in values]
    mean = fmean(logs)
    if len(logs) == 1:
        return Interval(values[0], None, None)
    degrees = len(logs) - 1
    half = critical_t(1 - CONFIDENCE, degrees) * math.sqrt(
        max(variance(logs), least_variance) / len(logs)
    )
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def variance(values: Sequence[float]) -> float:
    """Sample variance with n - 1 degrees of freedom; needs two values."""
    mean = fmean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def welch(first: Sequence[float], second: Sequence[float], least_variance: float) -> float:
    """Welch's test (1947): two-sided p that both means are equal, with unequal variances.

    Both sides hold logarithms. `least_variance` is that of their rounding: a variance below it is
    not known. The result is 1 where either side has fewer than two values, since its spread is
    unknown.
    """
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - a variance takes two
        return 1.0
    share_first, share_second = (
        max(variance(side), least_variance) / len(side) for side in (first, second)
    )
    error = share_first + share_second
    difference = fmean(first) - fmean(second)
    if error == 0:
        return 0.0 if difference else 1.0
    # Welch and Satterthwaite's degrees of freedom
    degrees = error**2 / (share_first**2 / (len(first) - 1) + share_second**2 / (len(second) - 1))
    return p_value(difference / math.sqrt(error), degrees)


def own_variances(rows: Sequence[Sequence[float]]) -> list[float]:
    """Variance of each variant by itself, in blocks; needs three variants.

    `rows` holds the logarithms of k variants in the same n rounds. The distance of a variant from
    the mean of the others has its own variance and 1/(k - 1)² of the sum of theirs, for which these
    k equations are solved (F. E. Grubbs, "On estimating precision of measuring instruments and
    product variability", 1948). The others' part is an estimate too: at least a tenth remains.
    """
    count = len(rows)
    share = 1 / (count - 1) ** 2
    rounds = [math.fsum(column) for column in zip(*rows, strict=True)]

    def distance(row: Sequence[float]) -> float:
        apart = zip(row, rounds, strict=True)
        return variance([value - (total - value) / (count - 1) for value, total in apart])

    distances = [distance(row) for row in rows]
    every = math.fsum(distances) / (1 + share * (count - 1))
    return [max((each - share * every) / (1 - share), each / 10) for each in distances]


def residual_variance(rows: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Residual variance of randomised blocks, and its degrees of freedom.

    `rows` holds the logarithms of k variants in the same n rounds. The residual is what neither a
    variant's mean nor a round's explains: the mean square of the two-way analysis of variance
    without interaction, with (k - 1)(n - 1) degrees of freedom.
    """
    means = [fmean(row) for row in rows]
    rounds = [fmean(column) for column in zip(*rows, strict=True)]
    grand = fmean(means)
    squares = math.fsum(
        (value - mean - level + grand) ** 2
        for row, mean in zip(rows, means, strict=True)
        for value, level in zip(row, rounds, strict=True)
    )
    degrees = (len(rows) - 1) * (len(rounds) - 1)
    return squares / degrees, degrees
