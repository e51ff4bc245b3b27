"""Timeline of a load in fewer points, in which a short burst stays visible. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

Point = Mapping[str, Any]

_RATES = ("requestsPerSecond", "failuresPerSecond")
_PEAKS = ("users", "replicas", "p95")


def thinned(timeline: Sequence[Point], most: int) -> list[Point]:
    """Timeline of at most ``most`` points, each of which stands for as many intervals.

    Rates are means, so that the numbers of requests and failures stay; users, replicas and the
    95th percentile are the highest ones; the median is the mean by requests.
    """
    size = -(-len(timeline) // max(1, most))
    if size <= 1:
        return list(timeline)
    groups = (timeline[first : first + size] for first in range(0, len(timeline), size))
    return [_one(group) for group in groups]


def _one(group: Sequence[Point]) -> Point:
    """Point that stands for several; it begins with the first of them."""
    rates = {name: _mean(group, name) for name in _RATES if name in group[0]}
    peaks = {
        name: max((each[name] for each in group if each.get(name) is not None), default=None)
        for name in _PEAKS
        if name in group[0]
    }
    median = {"p50": _median(group)} if "p50" in group[0] else {}
    return {**group[0], **rates, **peaks, **median}


def _mean(group: Sequence[Point], name: str) -> float:
    total: float = sum(each[name] for each in group)
    return round(total / len(group), 4)


def _median(group: Sequence[Point]) -> float | None:
    """Mean of the medians, weighted by requests; an estimate, since medians don't add up."""
    known = [each for each in group if each["p50"] is not None]
    requests: float = sum(each["requestsPerSecond"] for each in known)
    if not requests:
        return None
    total: float = sum(each["p50"] * each["requestsPerSecond"] for each in known)
    return round(total / requests, 1)
