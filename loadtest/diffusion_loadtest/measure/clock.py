"""The load's own time."""

import time


class Clock:
    """Seconds since the load began: 0 before that, and the same for ever after its end."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._ended: float | None = None

    def begin(self) -> None:
        self._begun, self._ended = time.perf_counter(), None

    def end(self) -> None:
        if self._ended is None:
            self._ended = time.perf_counter()

    def seconds(self) -> float:
        if self._begun is None:
            return 0.0
        return (time.perf_counter() if self._ended is None else self._ended) - self._begun
