"""How busy this process is: a load whose maker is the bottleneck measures itself."""

import time

import gevent

from .busyness import Second
from .clock import Clock

_TICK_SECONDS = 0.05
_TICKS = 20


class Monitor:
    """Watches this process as long as `watch` runs."""

    def __init__(self) -> None:
        self.seconds: list[Second] = []

    def watch(self, clock: Clock) -> None:
        """Add a Second each second, until the greenlet is killed."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            late = sum(_late() for _ in range(_TICKS))
            cpu = (time.process_time() - used) / (time.perf_counter() - began)
            self.seconds.append(Second(clock.seconds(), cpu, late / _TICKS))

    def take(self) -> list[Second]:
        """What was seen since the last call."""
        taken, self.seconds = self.seconds, []
        return taken


def _late() -> float:
    before = time.perf_counter()
    gevent.sleep(_TICK_SECONDS)
    return max(0.0, time.perf_counter() - before - _TICK_SECONDS)
