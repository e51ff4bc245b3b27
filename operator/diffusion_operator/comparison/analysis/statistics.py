"""Statistics of a few repetitions: intervals and tests.

Figures such as requests per second are positive and vary in proportion to their size, so all
computations use logarithms: a difference is a ratio, a mean is geometric.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import mpmath

CONFIDENCE = 0.95
"""Confidence of the intervals."""


@dataclass(frozen=True)
class Interval:
    """Mean and its confidence interval; `low` and `high` are None for one value."""

    mean: float
    low: float | None
    high: float | None


def p_value(t: float, degrees: float) -> float:
    """Two-sided p of Student's t: the regularised incomplete beta function I_x(df/2, 1/2).

    Abramowitz and Stegun, 26.5.27.
    """
    x = degrees / (degrees + t * t)
    return float(mpmath.betainc(degrees / 2, 0.5, 0, x, regularized=True))


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


def interval(values: Sequence[float]) -> Interval:
    """Geometric mean of positive values with its t interval; needs at least one value."""
    logs = [math.log(value) for value in values]
    mean = fmean(logs)
    if len(logs) == 1:
        return Interval(values[0], None, None)
    degrees = len(logs) - 1
    half = critical_t(1 - CONFIDENCE, degrees) * math.sqrt(variance(logs) / len(logs))
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's test (1947): two-sided p that both means are equal, with unequal variances.

    The means are those of the logarithms of positive values. The result is 1 where either side has
    fewer than two values, since its spread is unknown.
    """
    if min(len(first), len(second)) < 2:  # noqa: PLR2004 - a variance takes two
        return 1.0
    a, b = ([math.log(value) for value in values] for values in (first, second))
    share_a, share_b = variance(a) / len(a), variance(b) / len(b)
    error = share_a + share_b
    if error == 0:
        return 0.0 if fmean(a) != fmean(b) else 1.0
    t = (fmean(a) - fmean(b)) / math.sqrt(error)
    # Welch and Satterthwaite's degrees of freedom
    degrees = error**2 / (share_a**2 / (len(a) - 1) + share_b**2 / (len(b) - 1))
    return p_value(t, degrees)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (1979) of the p values, in the order given; each at most 1.

    A rejection at an adjusted p of at most alpha keeps the chance of any false rejection at alpha,
    for dependent tests, too.
    """
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    ascending = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(ascending):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted
