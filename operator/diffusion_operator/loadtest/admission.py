"""Admission: decides which runs begin now, and which wait."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from diffusion_operator.api.observed import ObservedLoadTest, ObservedRun
from diffusion_operator.api.state import RunState
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.objects import ROLE_LABEL, RUN_LABEL, Key, Object, key_of, labels_of
from diffusion_operator.loadtest.job import RUNNER, is_over
from diffusion_operator.loadtest.target_place import rivals


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


class TargetAdmission(Admission):
    """Admission of LoadTests to their target, up to a limit."""

    def __init__(self, cache: Cache, limit: int) -> None:
        super().__init__(limit)
        self._cache = cache

    def ask(self, test: Object, run: str) -> bool:
        """Whether that run may begin now; if so, it is admitted."""
        tests = {key_of(each): each for each in rivals(self._cache, test)}
        return not self.admit(key_of(test), run, tests)

    def holds(self, key: Key, obj: Object) -> bool:
        """Whether the test was admitted and has no recorded end, or one of its Jobs makes load."""
        status = ObservedLoadTest.of(obj)
        ended = status.has_ended and status.run == self._admitted.get(key)
        jobs = self._cache.jobs(key.namespace, key.name)
        return (key in self._admitted and not ended) or occupies(obj, jobs)


def occupies(test: Mapping[str, Any], jobs: Iterable[Object]) -> bool:
    """Whether a Job of the test makes load, or will soon."""
    status = ObservedLoadTest.of(test)
    return any(
        labels_of(job).get(ROLE_LABEL) == RUNNER
        and not is_over(job)
        and not job["metadata"].get("deletionTimestamp")
        and not (status.has_ended and labels_of(job).get(RUN_LABEL) == status.run)
        for job in jobs
    )


class ExclusiveLock(Admission):
    """Lock on a namespace's hardware for one Comparison: two would measure each other."""

    queued_state = RunState.WAITING

    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self._cache = cache

    def ask(self, comparison: Object) -> str | None:
        """Take the lock, or name the Comparison that has it or has waited for it longer."""
        key = key_of(comparison)
        known = {key_of(each): each for each in self._cache.all("Comparison")}
        rivals = {
            other: obj
            for other, obj in known.items()
            if other.namespace == key.namespace and self._competes(other, obj)
        }
        first = self.admit(key, key.name, {**rivals, key: comparison})
        return first[0].name if first else None

    def holds(self, key: Key, obj: Object) -> bool:
        """Whether the Comparison has the lock, or its status shows an active run."""
        return key in self._admitted or ObservedRun.of(obj).state.is_active

    def _competes(self, key: Key, obj: Object) -> bool:
        """Whether others wait for it: a Comparison under deletion never begins."""
        return not obj["metadata"].get("deletionTimestamp") or self.holds(key, obj)
