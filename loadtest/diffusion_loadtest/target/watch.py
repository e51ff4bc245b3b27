"""Detects a restart or a change of the target during the load."""

from collections.abc import Callable, Mapping
from typing import Any

import gevent

from diffusion_loadtest.target.fingerprint import fingerprint, fingerprint_id

POLL_SECONDS = 5.0
_UPTIME_MARGIN_SECONDS = 2.0


class TargetWatch:
    """Compares /about during and after the load with /about before the load.

    A new replica of an autoscaled target is younger than the load, and no restart.
    """

    def __init__(
        self,
        before: Mapping[str, Any] | None,
        fetch: Callable[[], Mapping[str, Any] | None],
        *,
        is_autoscaled: bool = False,
    ) -> None:
        self.restart: str | None = None
        self.change: str | None = None
        self.before = before
        self.latest = before
        self._fetch = fetch
        self._is_autoscaled = is_autoscaled
        self._uptimes: dict[str, float] = {}
        self._record_uptime(before or {})

    def run(self, seconds: Callable[[], float]) -> None:
        """Polls until killed; `seconds()` is the time since the load began."""
        while True:
            gevent.sleep(POLL_SECONDS)
            self.poll(seconds)

    def poll(self, seconds: Callable[[], float]) -> None:
        """Polls once. A target that does not respond may be busy, which the figures show."""
        now = self._fetch() if self.before is not None else None
        if now is None or self.before is None:
            return
        self.latest = now
        self.restart = self.restart or self._describe_restart(now, seconds())
        self._record_uptime(now)
        self.change = self.change or describe_change(self.before, now)

    def _describe_restart(self, now: Mapping[str, Any], load_seconds: float) -> str | None:
        if not self._is_autoscaled:
            return describe_restart(now, load_seconds)
        before, uptime = self._uptimes.get(now.get("replica", "")), now.get("uptime_seconds")
        if before is None or not isinstance(uptime, int | float) or uptime >= before:
            return None
        return f"replica {now['replica']} began anew {uptime:.0f} s ago"

    def _record_uptime(self, document: Mapping[str, Any]) -> None:
        name, uptime = document.get("replica"), document.get("uptime_seconds")
        if isinstance(name, str) and isinstance(uptime, int | float):
            self._uptimes[name] = uptime


def describe_restart(now: Mapping[str, Any], load_seconds: float) -> str | None:
    """Describes a restart: the responding process is younger than the load."""
    uptime = now.get("uptime_seconds")
    if not isinstance(uptime, int | float) or uptime + _UPTIME_MARGIN_SECONDS > load_seconds:
        return None
    return f"a process of the target began only {load_seconds - uptime:.0f} s after the load"


def describe_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Describes a change of the revision, the settings or the versions."""
    if before.get("revision") != now.get("revision"):
        return f"revision {now.get('revision')} answers instead of {before.get('revision')}"
    old, new = fingerprint(before, {}), fingerprint(now, {})
    if fingerprint_id(old) == fingerprint_id(new):
        return None
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return f"the target changed its {', '.join(names)}"
