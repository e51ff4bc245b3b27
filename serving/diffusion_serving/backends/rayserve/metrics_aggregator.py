"""What the replicas have told of their metrics, those that have left included.

A sum of counters that goes down is taken by Prometheus for a counter that began anew. So a replica
that doesn't answer a scrape counts as it did last, and of one that has left, what only grows stays.
Each replica may be the one that is scraped, so they tell each other what they remember.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from prometheus_client import Metric

_LASTING = frozenset({"counter", "histogram", "summary"})
_REMEMBERED = 256
"""Replicas. Of more that have left, the first is forgotten; each takes some 100 KB."""

Told = Mapping[str, Sequence[Metric]]
"""The metrics of replicas, by their tags."""


class Ledger:
    """One replica's view of the others."""

    def __init__(self) -> None:
        self._last: dict[str, Sequence[Metric]] = {}
        self._settled: set[str] = set()

    @property
    def settled(self) -> frozenset[str]:
        """Tags of those that have left, of which nobody can tell anything new."""
        return frozenset(self._settled)

    @property
    def families(self) -> list[Metric]:
        """Of all others, present and past."""
        return [family for families in self._last.values() for family in families]

    def besides(self, tags: Collection[str]) -> Told:
        """What is remembered of all but these."""
        return {tag: families for tag, families in self._last.items() if tag not in tags}

    def take(self, told: Told, remembered: Iterable[Told], *, all_told: bool) -> None:
        """Notes what came of a scrape.

        Args:
            told: what the others have told of themselves.
            remembered: what each remembers of those that didn't tell.
            all_told: whether every one that is there did; then the rest have left.

        """
        for tag, families in (pair for each in (told, *remembered) for pair in each.items()):
            # Answers may overtake each other, and what one remembers may be older.
            self._last[tag] = max(families, self._last.get(tag, ()), key=_progress)
        self._settled -= told.keys()
        if all_told:
            for tag in self._last.keys() - told.keys() - self._settled:
                self._last[tag] = [each for each in self._last[tag] if each.type in _LASTING]
                self._settled.add(tag)
        self._forget()

    def _forget(self) -> None:
        gone = [tag for tag in self._last if tag in self._settled]
        for tag in gone[: max(0, len(gone) - _REMEMBERED)]:
            del self._last[tag]  # but it stays settled, so that nobody brings it back


def _progress(families: Sequence[Metric]) -> float:
    """Grows while a replica lives, so that the later of two of its answers has more."""
    return sum(
        sample.value for family in families if family.type in _LASTING for sample in family.samples
    )
