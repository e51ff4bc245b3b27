"""The metrics of all replicas, those that have left included.

Prometheus takes a sum of counters that goes down for a counter that began again. So a replica that
doesn't answer a scrape counts as it did last, and of one that has left, only what grows stays. Each
replica may be the one that is scraped, so they exchange what they remember.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from prometheus_client import Metric

_LASTING = frozenset({"counter", "histogram", "summary"})
_REMEMBERED = 256
"""Replicas that are remembered after they have left, the last ones; each takes some 100 KB."""

ReplicaMetrics = Mapping[str, Sequence[Metric]]
"""The metrics of replicas, by their tags."""


class MetricsAggregator:
    """A replica's record of the other replicas' metrics."""

    def __init__(self) -> None:
        self._last: dict[str, Sequence[Metric]] = {}
        self._settled: set[str] = set()

    @property
    def settled(self) -> frozenset[str]:
        """Tags of the replicas that have left, whose metrics don't change any more."""
        return frozenset(self._settled)

    @property
    def families(self) -> list[Metric]:
        """The metrics of all other replicas, present and past."""
        return [family for families in self._last.values() for family in families]

    def besides(self, tags: Collection[str]) -> ReplicaMetrics:
        """Returns the last metrics of all replicas but these."""
        return {tag: families for tag, families in self._last.items() if tag not in tags}

    def take(
        self, answers: ReplicaMetrics, remembered: Iterable[ReplicaMetrics], *, complete: bool
    ) -> None:
        """Records a scrape.

        Args:
            answers: the metrics that the other replicas sent of themselves.
            remembered: the metrics that each remembers of the replicas that didn't answer.
            complete: whether every present replica answered; then the others have left.

        """
        for tag, families in (pair for each in (answers, *remembered) for pair in each.items()):
            # Answers may overtake each other, and a remembered one may be older.
            self._last[tag] = max(families, self._last.get(tag, ()), key=_progress)
        self._settled -= answers.keys()
        if complete:
            for tag in self._last.keys() - answers.keys() - self._settled:
                self._last[tag] = [each for each in self._last[tag] if each.type in _LASTING]
                self._settled.add(tag)
        self._forget()

    def _forget(self) -> None:
        gone = [tag for tag in self._last if tag in self._settled]
        for tag in gone[: max(0, len(gone) - _REMEMBERED)]:
            del self._last[tag]  # but it stays settled, so that no replica brings it back


def _progress(families: Sequence[Metric]) -> float:
    """Grows while a replica lives, so that the later of two of its answers has more."""
    return sum(
        sample.value for family in families if family.type in _LASTING for sample in family.samples
    )
