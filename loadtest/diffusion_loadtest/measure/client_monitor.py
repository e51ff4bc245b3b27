"""Monitors the load of this client: a saturated client measures itself."""

import time
from statistics import fmean

import gevent

from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.measure.clock import Clock

_TICK_SECONDS = 0.05
_SECOND = 1.0


class ClientMonitor:
    """Measures this process, a second at a time, while `run` runs."""

    def __init__(self) -> None:
        self.seconds: list[ClientUsage] = []

    def run(self, clock: Clock) -> None:
        """Adds a ClientUsage each second until the greenlet is killed."""
        while True:
            start, used = time.perf_counter(), time.process_time()
            delays = []
            # ends by the clock, not after a number of ticks, which a late process would stretch
            while (passed := time.perf_counter() - start) < _SECOND:
                delays.append(_delay())
            cpu = (time.process_time() - used) / passed
            self.seconds.append(ClientUsage(clock.seconds(), cpu, fmean(delays)))

    def take(self) -> list[ClientUsage]:
        """The seconds since the last call."""
        seconds, self.seconds = self.seconds, []
        return seconds


def _delay() -> float:
    before = time.perf_counter()
    gevent.sleep(_TICK_SECONDS)
    return max(0.0, time.perf_counter() - before - _TICK_SECONDS)
