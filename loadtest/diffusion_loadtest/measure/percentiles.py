"""The definition of a percentile."""

from collections.abc import Sequence


def percentile(ordered: Sequence[float], percent: float, failures: int = 0) -> float | None:
    """The nearest-rank percentile of values in ascending order; None of no values.

    `percent` lies in (0, 100]. The result is always one of the values: the smallest that at least
    `percent` per cent of them do not exceed. 50 of [1, 2, 3, 4] is 2.

    Each of `failures` counts as a value beyond all others; the result is None if it is one of them.
    """
    rank = -(-(len(ordered) + failures) * percent // 100)  # the ceiling, in integers
    place = max(int(rank), 1) - 1
    return ordered[place] if place < len(ordered) else None
