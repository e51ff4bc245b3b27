"""The clock of the load."""

import time


class Clock:
    """Counts seconds since the load began: 0 before the load, and constant after its end."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._end: float | None = None

    def begin(self) -> None:
        self._start, self._end = time.perf_counter(), None

    def end(self) -> None:
        if self._end is None:
            self._end = time.perf_counter()

    def seconds(self) -> float:
        if self._start is None:
            return 0.0
        return (time.perf_counter() if self._end is None else self._end) - self._start
