"""Is the target still the one that it was when the load began?"""

from collections.abc import Callable, Mapping
from typing import Any

import gevent

from diffusion_loadtest.target.fingerprint import fingerprint, fingerprint_id

LOOK_SECONDS = 5.0
_UPTIME_MARGIN_SECONDS = 2.0


class TargetWatch:
    """Compares what /about says during and after the load with what it said before."""

    def __init__(
        self, before: Mapping[str, Any] | None, ask: Callable[[], Mapping[str, Any] | None]
    ) -> None:
        self.restarted: str | None = None
        self.changed: str | None = None
        self.before = before
        self.latest = before
        self._ask = ask

    def watch(self, seconds: Callable[[], float]) -> None:
        """Look again and again, for good; `seconds()` is how long ago the load began."""
        while True:
            gevent.sleep(LOOK_SECONDS)
            self.look(seconds)

    def look(self, seconds: Callable[[], float]) -> None:
        """One look. A target that does not answer may be busy, which is for the figures to say."""
        now = self._ask() if self.before is not None else None
        if now is None or self.before is None:
            return
        self.latest = now
        self.restarted = self.restarted or restarted(now, seconds())
        self.changed = self.changed or changed(self.before, now)


def restarted(now: Mapping[str, Any], load_seconds: float) -> str | None:
    """Says so if the process that answered is younger than the load."""
    uptime = now.get("uptime_seconds")
    if not isinstance(uptime, int | float) or uptime + _UPTIME_MARGIN_SECONDS > load_seconds:
        return None
    return f"a process of the target began only {load_seconds - uptime:.0f} s after the load"


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Says so if another revision answers, or one of other settings or versions."""
    if before.get("revision") != now.get("revision"):
        return f"revision {now.get('revision')} answers instead of {before.get('revision')}"
    old, new = fingerprint(before, {}), fingerprint(now, {})
    if fingerprint_id(old) == fingerprint_id(new):
        return None
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return f"the target changed its {', '.join(names)}"
