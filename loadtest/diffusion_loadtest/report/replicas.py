"""Requests by the replica that responded. Pure.

A Service gives each connection to a replica by chance, so a kept connection keeps its replica, and
replicas may get unequal shares. A share counts requests, so the slower replica has fewer.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt

from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.report.figures import Window, percentiles, samples_in
from diffusion_loadtest.report.load_report import ReplicaFigures

UNKNOWN_REPLICA = "unknown"
UNEVEN_RATIO = 1.25
"""The multiple of an even share from which on a replica has too much."""
UNEVEN_DEVIATIONS = 3.0
"""The standard deviations of a binomial count that chance explains."""


def replica_figures(samples: Samples, window: Window) -> tuple[ReplicaFigures, ...]:
    """The window's requests by replica, the largest share first; empty if no replica has a name."""
    named = _by_replica(samples_in(samples, window))
    if not named.keys() - {UNKNOWN_REPLICA}:
        return ()
    total = sum(map(len, named.values()))
    figures = (_figures(name, requests, total) for name, requests in named.items())
    return tuple(sorted(figures, key=lambda each: (-each.requests, each.name)))


def uneven_share(samples: Samples, window: Window) -> str | None:
    """Describes a replica that got far more than its share; None if there is none.

    A replica counts if it responded in the first and in the last third of the window: an autoscaler
    may have added or removed the others.
    """
    third = window.seconds / 3
    counts = {
        name: len(requests)
        for name, requests in _by_replica(samples_in(samples, window)).items()
        if name != UNKNOWN_REPLICA
        and min(each.ended for each in requests) <= window.start + third
        and max(each.ended for each in requests) >= window.end - third
    }
    total, even = sum(counts.values()), 1 / max(len(counts), 1)
    name = max(counts, key=lambda each: counts[each], default="")
    if len(counts) == 1 or not total:
        return None
    chance = UNEVEN_DEVIATIONS * sqrt(even * (1 - even) * total)
    if counts[name] <= max(UNEVEN_RATIO * even * total, even * total + chance):
        return None
    return f"replica {name} got {counts[name] / total:.0%} of the requests instead of {even:.0%}"


def _by_replica(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    named: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        named[sample.replica or UNKNOWN_REPLICA].append(sample)
    return named


def _figures(name: str, requests: Sequence[Sample], total: int) -> ReplicaFigures:
    latencies = sorted(each.latency for each in requests if each.failure is SUCCESS)
    return ReplicaFigures(
        name=name,
        requests=len(requests),
        failures=len(requests) - len(latencies),
        share=round(len(requests) / total, 6),
        **percentiles(latencies).model_dump(),
    )
