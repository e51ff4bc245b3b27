"""The calls of a device: those that run, and the time that they may take by earlier ones."""

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

SHORTEST_BOUND = 30.0
"""Seconds that any call may take: a busy machine must not end an engine."""
PATIENCE = 10.0
"""A call may take so many times as long as the longest call like it has taken."""


@dataclass(frozen=True, slots=True)
class DeviceCall:
    """A call that runs: its begin by `time.monotonic`, and its bound in seconds."""

    began: float
    bound: float

    def overdue(self, now: float) -> bool:
        return now - self.began > self.bound


class Work(NamedTuple):
    """The work of a call, by which its time grows. `pixels` are those of one image."""

    images: int
    pixels: int
    steps: int = 1
    stage: str = "call"
    """The stage of a step loop, whose times say nothing of another's; a whole call otherwise."""

    def over(self, other: "Work") -> float:
        """Returns the most that this may cost, as a multiple of `other`.

        Attention costs up to the square of an image's pixels, everything else less.
        """
        pixels = self.images * self.pixels / (other.images * other.pixels)
        return max(1.0, pixels**2) * max(1.0, self.steps / other.steps)


class DeviceCalls:
    """Records the calls of one device: one at a time of each thread, which any thread reads."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[DeviceCall, Work]] = {}
        """The call that runs, and its work, by the thread that is in it."""
        self._longest: tuple[float, Work] | None = None
        """The longest call of all, which may have compiled the model for its work."""
        self._repeated: dict[Work, float] = {}
        """The longest call of each work besides its first, which may have compiled; 0 if none."""

    @property
    def running(self) -> DeviceCall | None:
        """The call that runs; of several, the one whose time is up first."""
        calls = [call for call, _ in list(self._running.values())]
        return min(calls, key=lambda call: call.began + call.bound, default=None)

    def begin(self, work: Work) -> None:
        call = DeviceCall(time.monotonic(), self.bound(work))
        self._running[threading.get_ident()] = call, work

    def end(self) -> None:
        running = self._running.pop(threading.get_ident(), None)
        if running is not None:
            call, work = running
            self.record(work, time.monotonic() - call.began)

    def record(self, work: Work, seconds: float) -> None:
        """Takes the time of a call that came back."""
        if work in self._repeated:
            self._repeated[work] = max(seconds, self._repeated[work])
        else:
            self._repeated[work] = 0.0
        if self._longest is None or seconds > self._longest[0]:
            self._longest = seconds, work

    def bound(self, work: Work) -> float:
        """Returns the seconds that a call may take; infinite before the first one came back."""
        if self._longest is None:
            return float("inf")
        seconds, of = self._longest
        expected = self._repeated.get(work) or seconds * work.over(of)
        # Another LoRA, guidance or shape compiles again, though its work is known.
        return max(SHORTEST_BOUND, PATIENCE * expected, 2 * seconds)
