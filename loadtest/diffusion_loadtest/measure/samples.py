"""Samples of every request of a run: 41 bytes each, neither rounded nor dropped."""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple, Self

from diffusion_loadtest.measure.server_timing import STAGES, UNKNOWN, Timing

SUCCESS = None
NOT_SENT = "NotSent"
"""The kind of failure of a request that the client did not send: too many were in flight."""

_COLUMNS = {
    "ended": "d",
    "latency": "d",
    "stage": "H",
    "measured": "B",
    "kind": "H",
    **dict.fromkeys(STAGES, "f"),
}


class Sample(NamedTuple):
    """A sample of one request.

    Attributes:
        ended: The end of the response, in seconds into the load.
        latency: The latency in seconds.
        stage: The index of the stage in which the request started.
        failure: The kind of failure, or None for a success.
        measured: Whether the figures include the request.
        timing: The target's Server-Timing.
    """

    ended: float
    latency: float
    stage: int
    failure: str | None
    measured: bool = True
    timing: Timing = UNKNOWN


class Samples:
    """The samples of one run, in the order in which their responses ended."""

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {
            name: array(code) for name, code in _COLUMNS.items()
        }
        self._kinds: list[str | None] = [SUCCESS]
        self._kind_numbers: dict[str | None, int] = {SUCCESS: 0}
        self.failures = 0
        # bound once, since a busy client records between two requests
        self._append = [column.append for column in self._columns.values()]

    def record(self, sample: Sample) -> None:
        """Adds a sample; callers record in the order in which responses end."""
        values = (
            sample.ended,
            sample.latency,
            sample.stage,
            sample.measured,
            self._number(sample.failure),
            *sample.timing,
        )
        for append, value in zip(self._append, values, strict=True):
            append(value)
        if sample.failure is not SUCCESS:
            self.failures += 1

    def _number(self, failure: str | None) -> int:
        number = self._kind_numbers.get(failure)
        if number is None:
            number = self._kind_numbers[failure] = len(self._kinds)
            self._kinds.append(failure)
        return number

    def __len__(self) -> int:
        return len(self._columns["ended"])

    def __iter__(self) -> Iterator[Sample]:
        columns = self._columns
        timings = zip(*(columns[stage] for stage in STAGES), strict=True)
        rows = zip(
            columns["ended"],
            columns["latency"],
            columns["stage"],
            columns["kind"],
            columns["measured"],
            timings,
            strict=True,
        )
        for ended, latency, stage, kind, measured, timing in rows:
            yield Sample(ended, latency, stage, self._kinds[kind], bool(measured), timing)

    def failures_by_kind(self) -> dict[str, int]:
        """The number of failures of each kind, the most frequent kind first."""
        counts = Counter(kind for kind in self._columns["kind"] if kind)
        return {str(self._kinds[kind]): count for kind, count in counts.most_common()}

    def of_stage(self, stage: int) -> "Samples":
        """The samples of requests that started in the stage."""
        return self._selected([number == stage for number in self._columns["stage"]])

    def only_measured(self) -> "Samples":
        """The samples that the figures include."""
        return self._selected(self._columns["measured"])

    def started_since(self, moment: float) -> "Samples":
        """The samples of requests that started, or were due, at `moment` seconds or later."""
        return self._selected([start >= moment for start, _ in self.spans()])

    def _selected(self, selection: Sequence[int]) -> "Samples":
        selected = Samples()
        selected.extend(
            self._kinds,
            {
                name: array(_COLUMNS[name], compress(column, selection))
                for name, column in self._columns.items()
            },
        )
        return selected

    def latencies(self) -> list[float]:
        """The successful requests' latencies in seconds, ascending."""
        columns = self._columns
        return sorted(compress(columns["latency"], map(_is_zero, columns["kind"])))

    def latencies_by_end(self) -> list[float]:
        """The successful requests' latencies in seconds, in the order in which they ended."""
        columns = self._columns
        return list(compress(columns["latency"], map(_is_zero, columns["kind"])))

    def timings(self, stage: str) -> list[float]:
        """The target's timings of one of its stages in milliseconds, ascending."""
        timings = compress(self._columns[stage], map(_is_zero, self._columns["kind"]))
        return sorted(value for value in timings if value == value)  # noqa: PLR0124  NaN is left out

    def success_ends(self) -> "array[float]":
        """The ends of the successful responses, ascending."""
        return array("d", compress(self._columns["ended"], map(_is_zero, self._columns["kind"])))

    def failure_ends(self) -> "array[float]":
        """The ends of the failed requests, ascending."""
        return array("d", compress(self._columns["ended"], self._columns["kind"]))

    def success_spans(self) -> Iterator[tuple[float, float]]:
        """The start (or due time) and the end of each successful request."""
        return compress(self.spans(), map(_is_zero, self._columns["kind"]))

    def spans(self) -> Iterator[tuple[float, float]]:
        """The start (or due time) and the end of each request."""
        for ended, latency in zip(self._columns["ended"], self._columns["latency"], strict=True):
            yield ended - latency, ended

    def since(self, start: float) -> list[float]:
        """Latencies of the successful responses that arrived after `start` seconds, ascending."""
        columns = self._columns
        first = bisect_right(columns["ended"], start)
        successes = map(_is_zero, columns["kind"][first:])
        return sorted(compress(columns["latency"][first:], successes))

    def take(self) -> dict[str, Any]:
        """Moves all samples into a message for another process."""
        message: dict[str, Any] = {name: column.tobytes() for name, column in self._columns.items()}
        for column in self._columns.values():
            del column[:]
        self.failures = 0
        return message | {"kinds": self._kinds}

    def add(self, message: Mapping[str, Any]) -> None:
        """Appends the samples of another process's message."""
        columns = {}
        for name, code in _COLUMNS.items():
            columns[name] = array(code)
            columns[name].frombytes(message[name])
        self.extend(message["kinds"], columns)

    def extend(self, kinds: Sequence[str | None], columns: Mapping[str, "array[Any]"]) -> None:
        """Appends columns, whose failures are indexes into `kinds`."""
        renumbered = [self._number(kind) for kind in kinds]
        for name, column in columns.items():
            if name == "kind":
                numbers = array("H", map(renumbered.__getitem__, column))
                self.failures += len(numbers) - numbers.count(0)
                self._columns[name].extend(numbers)
            else:
                self._columns[name].extend(column)

    @classmethod
    def merged(cls, parts: Iterable["Samples"]) -> Self:
        """The samples of several processes, in the order in which their responses ended."""
        merged = cls()
        for part in parts:
            merged.extend(part._kinds, part._columns)  # noqa: SLF001  of the same class
        merged._sort()
        return merged

    def _sort(self) -> None:
        ended = self._columns["ended"]
        order = sorted(range(len(ended)), key=ended.__getitem__)
        for name, column in self._columns.items():
            column[:] = array(_COLUMNS[name], map(column.__getitem__, order))


def _is_zero(number: int) -> bool:
    return number == 0
