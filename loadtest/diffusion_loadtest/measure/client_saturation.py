"""Saturation of the client: a load test whose client is saturated measures itself. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

BUSY_CPU = 0.9
"""The share of one core above which requests wait for the client."""
LATE_SECONDS = 0.010
LATE_SHARE = 0.05
"""The client is late by 10 ms and by a twentieth of the median latency, whichever is more."""
BUSY_SHARE = 0.1
BUSY_SECONDS = 2
"""The client is saturated if busy or late in a tenth of the seconds, and in two at least."""


class ClientUsage(NamedTuple):
    """The usage of one client process in about one second.

    `at` is the end of the second in seconds into the load, `cpu` the share of one core in use, and
    `lag` the average delay of a timer in seconds, which is part of every latency measured.
    """

    at: float
    cpu: float
    lag: float


def saturation(
    client_usage: Sequence[Sequence[ClientUsage]], median: float | None, unsent: int
) -> str | None:
    """Explains why the client was saturated.

    Args:
        client_usage: The usage of each process, second by second.
        median: The median latency in seconds.
        unsent: The number of requests that were due and not sent.

    Returns:
        A clause, or None if the client was not saturated.
    """
    if unsent:
        return f"{unsent} requests were not sent, since too many were in flight"
    late = max(LATE_SECONDS, LATE_SHARE * (median or 0.0))
    for seconds in client_usage:
        if _is_often(seconds, lambda second: second.cpu >= BUSY_CPU):
            return f"a worker used {BUSY_CPU:.0%} of its core or more"
        if _is_often(seconds, lambda second: second.lag >= late):
            return f"a worker was {late * 1000:.0f} ms late or more"
    return None


def _is_often(seconds: Sequence[ClientUsage], is_so: Callable[[ClientUsage], bool]) -> bool:
    count = sum(map(is_so, seconds))
    return count >= BUSY_SECONDS and count >= BUSY_SHARE * len(seconds)
