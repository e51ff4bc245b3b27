"""Which Comparison of a namespace has its hardware: two at once would measure each other."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.cache import Cache
from diffusion_operator.objects import Key, Object, key_of

BUSY_STATES = frozenset({"Running", "Cooling"})
"""Of a Comparison that has the hardware."""


class Hardware:
    """Who compares and who waits; the one that has begun goes on, then the oldest begins.

    A status is written after the decision that it tells, so who was given the hardware is
    remembered until it is given back. What is lost in a restart stands in the status.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._holders: set[Key] = set()
        self._waiting: set[Key] = set()

    def ask(self, comparison: Object) -> str | None:
        """Take the hardware, or name the Comparison that has it or waits for it longer."""
        key = key_of(comparison)
        known = {**self._rivals(key.namespace), key: comparison}
        holders = {
            each
            for each, found in known.items()
            if each in self._holders or _state(found) in BUSY_STATES
        }
        older = {
            each
            for each, found in known.items()
            if (each in self._waiting or _state(found) == "Waiting")
            and not found["metadata"].get("deletionTimestamp")
            and _age(found) < _age(comparison)
        }
        ahead = holders or older
        if key in ahead or not ahead:
            self._waiting.discard(key)
            self._holders.add(key)
            return None
        self._waiting.add(key)
        return min(ahead, key=lambda each: _age(known[each])).name

    def leave(self, key: Key) -> None:
        """The Comparison neither has the hardware nor waits for it any more."""
        self._holders.discard(key)
        self._waiting.discard(key)

    def _rivals(self, namespace: str) -> dict[Key, Object]:
        known = {key_of(found): found for found in self._cache.all("Comparison")}
        return {key: found for key, found in known.items() if key.namespace == namespace}


def _state(comparison: Mapping[str, Any]) -> str:
    return str((comparison.get("status") or {}).get("state", ""))


def _age(comparison: Object) -> tuple[str, str]:
    meta = comparison["metadata"]
    return str(meta["creationTimestamp"]), str(meta["name"])
