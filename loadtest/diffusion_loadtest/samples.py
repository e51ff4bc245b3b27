"""Every request of a run, recorded as it ended: 19 bytes each, nothing rounded, none dropped."""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SUCCESS = None


class Sample(NamedTuple):
    """One request: when its answer ended (seconds into the load) and how long it took (seconds).

    `stage` is the index of the stage it was begun in, `failure` its kind or None for a success.
    """

    ended: float
    latency: float
    stage: int
    failure: str | None


class Samples:
    """The samples of one run, in the order in which the requests ended."""

    def __init__(self) -> None:
        self._ended = array("d")
        self._latency = array("d")
        self._stage = array("B")
        self._kind = array("H")
        self._kinds: list[str | None] = [SUCCESS]
        self._kind_numbers: dict[str | None, int] = {SUCCESS: 0}
        self.failures = 0

    def record(self, sample: Sample) -> None:
        """Add a request; they come in the order in which they ended."""
        self._ended.append(sample.ended)
        self._latency.append(sample.latency)
        self._stage.append(sample.stage)
        self._kind.append(self._number(sample.failure))
        if sample.failure is not SUCCESS:
            self.failures += 1

    def _number(self, failure: str | None) -> int:
        number = self._kind_numbers.get(failure)
        if number is None:
            number = self._kind_numbers[failure] = len(self._kinds)
            self._kinds.append(failure)
        return number

    def __len__(self) -> int:
        return len(self._ended)

    def __iter__(self) -> Iterator[Sample]:
        for ended, latency, stage, kind in zip(
            self._ended, self._latency, self._stage, self._kind, strict=True
        ):
            yield Sample(ended, latency, stage, self._kinds[kind])

    def failures_by_kind(self) -> dict[str, int]:
        """How many requests failed of each kind that occurred, the most frequent first."""
        counts = Counter(kind for kind in self._kind if kind)
        return {str(self._kinds[kind]): count for kind, count in counts.most_common()}

    def successes_since(self, start: float) -> int:
        """The successful responses that arrived after `start` seconds into the load."""
        count = 0
        for index in range(len(self._ended) - 1, -1, -1):
            if self._ended[index] <= start:
                break
            count += self._kind[index] == 0
        return count


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile of values in ascending order; None of no values.

    `percent` lies in (0, 100]. The result is always one of the values: the smallest that at least
    `percent` per cent of them do not exceed. 50 of [1, 2, 3, 4] is 2.
    """
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)  # the ceiling, without a detour through fractions
    return ordered[max(int(rank), 1) - 1]
