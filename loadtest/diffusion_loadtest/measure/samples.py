"""Every request of a run, recorded as it ended: 41 bytes each, nothing rounded, none dropped."""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple, Self

from diffusion_loadtest.measure.server_timing import STAGES, UNKNOWN, Timing

SUCCESS = None
NOT_SENT = "NotSent"
"""The one kind of failure that is the client's alone: too many requests were under way already."""

_COLUMNS = {
    "ended": "d",
    "latency": "d",
    "stage": "H",
    "measured": "B",
    "kind": "H",
    **dict.fromkeys(STAGES, "f"),
}


class Sample(NamedTuple):
    """One request: when its answer ended (seconds into the load) and how long it took (seconds).

    `stage` is the index of the stage it was begun in, `failure` its kind or None for a success.
    One that is not `measured` is left out of the figures. `timing` is what the target said.
    """

    ended: float
    latency: float
    stage: int
    failure: str | None
    measured: bool = True
    timing: Timing = UNKNOWN


class Samples:
    """The samples of one run, in the order in which the requests ended."""

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {
            name: array(code) for name, code in _COLUMNS.items()
        }
        self._kinds: list[str | None] = [SUCCESS]
        self._kind_numbers: dict[str | None, int] = {SUCCESS: 0}
        self.failures = 0
        # looked up once: recording takes place between two requests of a busy client
        self._append = [column.append for column in self._columns.values()]

    def record(self, sample: Sample) -> None:
        """Add a request; they come in the order in which they ended."""
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
        """How many requests failed of each kind that occurred, the most frequent first."""
        counts = Counter(kind for kind in self._columns["kind"] if kind)
        return {str(self._kinds[kind]): count for kind, count in counts.most_common()}

    def of_stage(self, stage: int) -> "Samples":
        """Those that were begun in that stage."""
        return self._chosen([number == stage for number in self._columns["stage"]])

    def only_measured(self) -> "Samples":
        """Those that are not left out of the figures."""
        return self._chosen(self._columns["measured"])

    def _chosen(self, choice: Sequence[int]) -> "Samples":
        chosen = Samples()
        chosen.extend(
            self._kinds,
            {
                name: array(_COLUMNS[name], compress(column, choice))
                for name, column in self._columns.items()
            },
        )
        return chosen

    def latencies(self) -> list[float]:
        """The successful requests' latencies in seconds, ascending."""
        columns = self._columns
        return sorted(compress(columns["latency"], map(_is_zero, columns["kind"])))

    def timings(self, stage: str) -> list[float]:
        """Milliseconds that the target says one of its stages took, ascending."""
        chosen = compress(self._columns[stage], map(_is_zero, self._columns["kind"]))
        return sorted(value for value in chosen if value == value)  # noqa: PLR0124  leaves NaN out

    def success_ends(self) -> "array[float]":
        """When the successful answers ended, ascending."""
        return array("d", compress(self._columns["ended"], map(_is_zero, self._columns["kind"])))

    def spans(self) -> Iterator[tuple[float, float]]:
        """When each request was begun (or was due) and when it ended."""
        for ended, latency in zip(self._columns["ended"], self._columns["latency"], strict=True):
            yield ended - latency, ended

    def since(self, start: float) -> list[float]:
        """Latencies of the successful responses that arrived after `start` seconds, ascending."""
        columns = self._columns
        first = bisect_right(columns["ended"], start)
        successes = map(_is_zero, columns["kind"][first:])
        return sorted(compress(columns["latency"][first:], successes))

    def take(self) -> dict[str, Any]:
        """All of them as a message for another process, and none of them left here."""
        message: dict[str, Any] = {name: column.tobytes() for name, column in self._columns.items()}
        for column in self._columns.values():
            del column[:]
        self.failures = 0
        return message | {"kinds": self._kinds}

    def add(self, message: Mapping[str, Any]) -> None:
        """Append those of another process's message."""
        columns = {}
        for name, code in _COLUMNS.items():
            columns[name] = array(code)
            columns[name].frombytes(message[name])
        self.extend(message["kinds"], columns)

    def extend(self, kinds: Sequence[str | None], columns: Mapping[str, "array[Any]"]) -> None:
        """Append columns whose failures are numbered as `kinds` lists them."""
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
        """Those of several processes, again in the order in which they ended."""
        together = cls()
        for part in parts:
            together.extend(part._kinds, part._columns)  # noqa: SLF001  of the same class
        together._sort()
        return together

    def _sort(self) -> None:
        ended = self._columns["ended"]
        order = sorted(range(len(ended)), key=ended.__getitem__)
        for name, column in self._columns.items():
            column[:] = array(_COLUMNS[name], map(column.__getitem__, order))


def _is_zero(number: int) -> bool:
    return number == 0
