"""A histogram of latencies with a bounded relative error, whatever their range.

The buckets are those of HdrHistogram (Gil Tene): a value keeps its eleven most significant bits, so
a bucket's width is at most 1/1024 of its lower bound.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

MAX_RELATIVE_ERROR = 0.001
_BITS = 11
_MICROSECONDS = 1_000_000

Buckets = tuple[tuple[float, int], ...]
"""Ascending pairs of a bucket's lower bound in milliseconds and its count."""


def histogram(seconds: Iterable[float]) -> Buckets:
    """The buckets that are not empty."""
    counts = Counter(_lower_bound(round(value * _MICROSECONDS)) for value in seconds)
    return tuple((bound / 1000, counts[bound]) for bound in sorted(counts))


def _lower_bound(microseconds: int) -> int:
    dropped = max(0, microseconds.bit_length() - _BITS)
    return microseconds >> dropped << dropped


def histogram_percentile(buckets: Sequence[tuple[float, int]], percent: float) -> float | None:
    """The lower bound of the bucket that holds the nearest-rank percentile, in milliseconds."""
    total = sum(count for _, count in buckets)
    if not total:
        return None
    rank = max(1, int(-(-total * percent // 100)))
    cumulative = 0
    for bound, count in buckets:
        cumulative += count
        if cumulative >= rank:
            return bound
    raise AssertionError("a rank is at most the number of values")
