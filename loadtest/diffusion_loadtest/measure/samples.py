"""Samples of every request of a run: 43 bytes each, neither rounded nor dropped."""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import not_
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
    "replica": "H",
    **dict.fromkeys(STAGES, "f"),
}
_WORDS = {"kind": 65_536, "replica": 5_000}
"""The columns that hold numbers of words, and the most words of each.

A server could send another replica's name each time; kinds of failures are far fewer than numbers.
"""


class Sample(NamedTuple):
    """A sample of one request.

    Attributes:
        ended: The end of the response, in seconds into the load.
        latency: The latency in seconds.
        stage: The index of the stage in which the request started.
        failure: The kind of failure, or None for a success.
        measured: Whether the figures include the request.
        timing: The target's Server-Timing.
        replica: The name of the replica that responded, None if unknown.
    """

    ended: float
    latency: float
    stage: int
    failure: str | None
    measured: bool = True
    timing: Timing = UNKNOWN
    replica: str | None = None


class _Words:
    """Numbers of words, in the order of their first use; None is 0."""

    def __init__(self, most: int) -> None:
        self.known: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}
        self._most = most

    def number(self, word: str | None) -> int:
        """The number of a word; 0 for a new word after the most that there may be."""
        number = self._numbers.get(word)
        if number is None and len(self.known) < self._most:
            number = self._numbers[word] = len(self.known)
            self.known.append(word)
        return number or 0


class Samples:
    """The samples of one run, in the order in which their responses ended."""

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {
            name: array(code) for name, code in _COLUMNS.items()
        }
        self._words = {name: _Words(most) for name, most in _WORDS.items()}
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
            self._words["kind"].number(sample.failure),
            self._words["replica"].number(sample.replica),
            *sample.timing,
        )
        for append, value in zip(self._append, values, strict=True):
            append(value)
        if sample.failure is not SUCCESS:
            self.failures += 1

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
            columns["replica"],
            strict=True,
        )
        kinds, replicas = (self._words[name].known for name in _WORDS)
        for ended, latency, stage, kind, measured, timing, replica in rows:
            failure, name = kinds[kind], replicas[replica]
            yield Sample(ended, latency, stage, failure, bool(measured), timing, name)

    def failures_by_kind(self) -> dict[str, int]:
        """The number of failures of each kind, the most frequent kind first."""
        counts = Counter(kind for kind in self._columns["kind"] if kind)
        kinds = self._words["kind"].known
        return {str(kinds[kind]): count for kind, count in counts.most_common()}

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
        columns = self._columns
        if not all(selection):
            columns = {
                # An array reserves its memory at once for a list, and not for an iterator.
                name: array(_COLUMNS[name], list(compress(column, selection)))
                for name, column in columns.items()
            }
        selected = Samples()
        selected.extend(self._known_words(), columns)
        return selected

    def latencies(self) -> list[float]:
        """The successful requests' latencies in seconds, ascending."""
        columns = self._columns
        return sorted(compress(columns["latency"], map(not_, columns["kind"])))

    def latencies_by_end(self) -> list[float]:
        """The successful requests' latencies in seconds, in the order in which they ended."""
        columns = self._columns
        return list(compress(columns["latency"], map(not_, columns["kind"])))

    def timings(self, stage: str) -> list[float]:
        """The target's timings of one of its stages in milliseconds, ascending."""
        timings = compress(self._columns[stage], map(not_, self._columns["kind"]))
        return sorted(value for value in timings if value == value)  # noqa: PLR0124  NaN is left out

    def success_ends(self) -> "array[float]":
        """The ends of the successful responses, ascending."""
        return array("d", compress(self._columns["ended"], map(not_, self._columns["kind"])))

    def successes_within(self, start: float, end: float) -> int:
        """The number of successful responses that ended after `start` seconds, until `end`."""
        ended = self._columns["ended"]
        first, last = bisect_right(ended, start), bisect_right(ended, end)
        return sum(map(not_, self._columns["kind"][first:last]))

    def failure_ends(self) -> "array[float]":
        """The ends of the failed requests, ascending."""
        return array("d", compress(self._columns["ended"], self._columns["kind"]))

    def success_spans(self) -> Iterator[tuple[float, float]]:
        """The start (or due time) and the end of each successful request."""
        return compress(self.spans(), map(not_, self._columns["kind"]))

    def spans(self) -> Iterator[tuple[float, float]]:
        """The start (or due time) and the end of each request."""
        for ended, latency in zip(self._columns["ended"], self._columns["latency"], strict=True):
            yield ended - latency, ended

    def since(self, start: float) -> list[float]:
        """Latencies of the successful responses that arrived after `start` seconds, ascending."""
        columns = self._columns
        first = bisect_right(columns["ended"], start)
        successes = map(not_, columns["kind"][first:])
        return sorted(compress(columns["latency"][first:], successes))

    def take(self) -> dict[str, Any]:
        """Moves all samples into a message for another process."""
        message: dict[str, Any] = {name: column.tobytes() for name, column in self._columns.items()}
        for column in self._columns.values():
            del column[:]
        self.failures = 0
        return message | {"words": self._known_words()}

    def add(self, message: Mapping[str, Any]) -> None:
        """Appends the samples of another process's message."""
        columns = {}
        for name, code in _COLUMNS.items():
            columns[name] = array(code)
            columns[name].frombytes(message[name])
        self.extend(message["words"], columns)

    def extend(
        self,
        words: Mapping[str, Sequence[str | None]],
        columns: Mapping[str, "array[Any]"],
    ) -> None:
        """Appends columns; those of `words` hold indexes into these words."""
        for name, column in columns.items():
            if name in words:
                renumbered = [self._words[name].number(word) for word in words[name]]
                self._columns[name].extend(map(renumbered.__getitem__, column))
            else:
                self._columns[name].extend(column)
        self.failures += sum(map(bool, columns["kind"]))

    def _known_words(self) -> Mapping[str, Sequence[str | None]]:
        return {name: words.known for name, words in self._words.items()}

    @classmethod
    def merged(cls, parts: Iterable["Samples"]) -> Self:
        """The samples of several processes, in the order in which their responses ended."""
        merged = cls()
        for part in parts:
            merged.extend(part._known_words(), part._columns)  # noqa: SLF001  of the same class
        merged._sort()
        return merged

    def _sort(self) -> None:
        ended = self._columns["ended"]
        order = sorted(range(len(ended)), key=ended.__getitem__)
        for name, column in self._columns.items():
            column[:] = array(_COLUMNS[name], map(column.__getitem__, order))
