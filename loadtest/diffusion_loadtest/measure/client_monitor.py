"""How busy this process is: a load whose maker is the bottleneck measures itself."""

import time
from statistics import fmean

import gevent

from diffusion_loadtest.measure.client_saturation import Second
from diffusion_loadtest.measure.clock import Clock

_TICK_SECONDS = 0.05
_SECOND = 1.0


class Monitor:
    """Watches this process as long as `watch` runs."""

    def __init__(self) -> None:
        self.seconds: list[Second] = []

    def watch(self, clock: Clock) -> None:
        """Add a Second each second, until the greenlet is killed."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            late = []
            # by the clock, not so many ticks: of a process that is late there would be few seconds
            while (passed := time.perf_counter() - began) < _SECOND:
                late.append(_late())
            cpu = (time.process_time() - used) / passed
            self.seconds.append(Second(clock.seconds(), cpu, fmean(late)))

    def take(self) -> list[Second]:
        """What was seen since the last call."""
        taken, self.seconds = self.seconds, []
        return taken


def _late() -> float:
    before = time.perf_counter()
    gevent.sleep(_TICK_SECONDS)
    return max(0.0, time.perf_counter() - before - _TICK_SECONDS)
