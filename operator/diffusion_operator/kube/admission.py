"""Admission: decides which of competing objects begin now, and which wait."""

from collections.abc import Collection, Mapping

from diffusion_operator.api.observed import ObservedRun
from diffusion_operator.api.state import RunState
from diffusion_operator.kube.objects import Key, Object


def ahead(
    mine: Key,
    objects: Mapping[Key, Object],
    *,
    begun: Collection[Key],
    waiting: Collection[Key],
    limit: int,
) -> list[Key]:
    """Keys that ``mine`` waits for, in order; empty where it may begin.

    ``objects`` compete for ``limit`` places. Each key in ``begun`` holds one and keeps it; the
    oldest key in ``waiting`` begins next.
    """

    def age(key: Key) -> tuple[str, str, str]:
        made = objects[key]["metadata"].get("creationTimestamp", "")
        return str(made), key.name, key.namespace

    if mine in begun:
        return []
    holders = sorted((key for key in objects if key in begun), key=age)
    older = sorted(
        (key for key in objects if key in waiting and key not in begun and age(key) < age(mine)),
        key=age,
    )
    return [] if len(holders) + len(older) < limit else [*holders, *older]


class Admission:
    """Admission of runs to a limited number of places.

    A status is written after its decision, so the admission remembers a run until it is released.
    After a restart, the status of the objects has the lost state.
    """

    queued_state = RunState.QUEUED
    """State of an object that waits for admission."""

    def __init__(self, limit: int = 1) -> None:
        self._limit = limit
        self._admitted: dict[Key, str] = {}
        self._waiting: set[Key] = set()

    def admit(self, key: Key, run: str, rivals: Mapping[Key, Object]) -> list[Key]:
        """Admit the run, or return the keys ahead of it; ``rivals`` includes its own object."""
        if key not in rivals:  # the object was deleted meanwhile
            self.begin(key, run)
            return []
        begun = {each for each, obj in rivals.items() if self.holds(each, obj)}
        waiting = {
            each
            for each, obj in rivals.items()
            if each in self._waiting or ObservedRun.of(obj).state is self.queued_state
        }
        first = ahead(key, rivals, begun=begun, waiting=waiting, limit=self._limit)
        if first:
            self._waiting.add(key)
            return first
        self.begin(key, run)
        return []

    def holds(self, key: Key, obj: Object) -> bool:
        """Whether the object holds a place."""
        raise NotImplementedError

    def begin(self, key: Key, run: str) -> None:
        """Record that the run holds a place."""
        self._waiting.discard(key)
        self._admitted[key] = run

    def release(self, key: Key) -> None:
        """Release the place, or the place in the queue."""
        self._waiting.discard(key)
        self._admitted.pop(key, None)
