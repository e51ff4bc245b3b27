"""The watchdog: notices workers that do not answer, and device calls that do not come back."""

from collections.abc import Iterable

from diffusion_serving.observability.device_calls import DeviceCall
from diffusion_serving.observability.startup_errors import EngineHung

_TICKS = 10
"""Checks within the silence that a worker may keep."""
_LONGEST_TICK = 1.0


class Watchdog:
    """Judges workers by their answers, without a clock or a link of its own.

    Time counts only while this process itself runs: one that was stopped or had no core, as its
    workers then had none, must not hold the pause against them.

    Args:
        silence: seconds of this process's running time that a worker may leave a check unanswered.

    """

    def __init__(self, silence: float) -> None:
        self._limit = silence
        self.tick_seconds = min(_LONGEST_TICK, silence / _TICKS)
        """Seconds between two checks."""
        self._silent: dict[int, float] = {}
        self._calls: dict[int, DeviceCall | None] = {}
        self._last: float | None = None

    def watch(self, place: int) -> None:
        """Begins to watch a worker that is ready: loading has no bound that is known here."""
        self._silent[place] = 0.0

    def heard(self, place: int, call: DeviceCall | None) -> None:
        """Takes a worker's answer, with the device call that it is in."""
        self._silent[place] = 0.0
        self._calls[place] = call

    def silent(self, places: Iterable[int]) -> bool:
        """Whether all of these workers have left the last checks unanswered."""
        return all(self._silent.get(place, 0.0) > 2 * self.tick_seconds for place in places)

    def tick(self, now: float) -> dict[int, EngineHung]:
        """Counts the time since the last call, and returns the workers that hang, with why."""
        passed = 0.0 if self._last is None else min(now - self._last, 2 * self.tick_seconds)
        self._last = now
        hung: dict[int, EngineHung] = {}
        for place in self._silent:
            self._silent[place] += passed
            call = self._calls.get(place)
            if self._silent[place] > self._limit:
                hung[place] = EngineHung(f"did not answer for {self._limit:g} s")
            elif call is not None and call.overdue(now):
                hung[place] = call_hangs(call)
        return hung


def call_hangs(call: DeviceCall) -> EngineHung:
    """Returns the error of a device call that is overdue."""
    return EngineHung(
        f"has been in one call of its device for more than {call.bound:.0f} s, which is many times "
        "what such a call has taken"
    )
