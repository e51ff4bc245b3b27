"""The exposition of one scrape: the metrics of several processes, added up."""

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_SMALLEST_SUFFIXES = ("_info", "_created")
_SMALLEST = frozenset({"process_start_time_seconds", "process_max_fds"})
"""Metrics of which the smallest is taken, because a sum would mean nothing."""


def expose(families: Iterable[Metric]) -> tuple[bytes, str]:
    """Returns the scrape's body and its media type."""
    return generate_latest(_Collected(merged(families))), CONTENT_TYPE_LATEST


def merged(families: Iterable[Metric]) -> list[Metric]:
    """Merges families of one name; samples of the same labels are added up.

    A sample that is always 1 stays so, and of start times and limits the smallest is taken.
    """
    together: dict[str, Metric] = {}
    for family in families:
        whole = together.setdefault(
            family.name, Metric(family.name, family.documentation, family.type, family.unit)
        )
        whole.samples.extend(family.samples)
    for whole in together.values():
        whole.samples = _added(whole.samples)
    return list(together.values())


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _added(samples: Iterable[Sample]) -> list[Sample]:
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for sample in samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        before = values.get(key)
        if before is None:
            values[key] = sample.value
        elif sample.name in _SMALLEST or sample.name.endswith(_SMALLEST_SUFFIXES):
            values[key] = min(before, sample.value)
        else:
            values[key] = before + sample.value
    return [Sample(name, dict(labels), value) for (name, labels), value in values.items()]
