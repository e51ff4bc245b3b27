"""Was the load's own process the bottleneck? Then it measured itself. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

BUSY_CPU = 0.9
"""Of one core: more than that, and requests wait for the client."""
LATE_SECONDS = 0.010
LATE_SHARE = 0.05
"""The client is late if it is so by 10 ms and by a twentieth of the median latency."""
BUSY_SHARE = 0.1
BUSY_SECONDS = 2
"""It is the bottleneck if it is busy or late in a tenth of the seconds, and in two at least."""


class Second(NamedTuple):
    """About one second of one process.

    `at` is its end in seconds into the load, `cpu` the share of one core in use, `lag` the seconds
    by which it came late on average to what was due, which is part of what it measures.
    """

    at: float
    cpu: float
    lag: float


def saturation(
    busyness: Sequence[Sequence[Second]], median: float | None, unsent: int
) -> str | None:
    """Why the client was the bottleneck; None if it was not.

    `busyness` has the seconds of each process, `median` is that of the latencies in seconds.
    """
    if unsent:
        return f"{unsent} requests were not sent, as too many were under way already"
    late = max(LATE_SECONDS, LATE_SHARE * (median or 0.0))
    for seconds in busyness:
        if _is_often(seconds, lambda second: second.cpu >= BUSY_CPU):
            return f"a worker used {BUSY_CPU:.0%} of its core or more"
        if _is_often(seconds, lambda second: second.lag >= late):
            return f"a worker came {late * 1000:.0f} ms late or more"
    return None


def _is_often(seconds: Sequence[Second], is_so: Callable[[Second], bool]) -> bool:
    count = sum(map(is_so, seconds))
    return count >= BUSY_SECONDS and count >= BUSY_SHARE * len(seconds)
