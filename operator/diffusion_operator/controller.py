"""Which event wakes whose reconciler."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from diffusion_operator.cache import Cache
from diffusion_operator.clock import utc_now
from diffusion_operator.cluster import ApiError, Cluster, said_by
from diffusion_operator.metrics import LEADER, RECONCILE_SECONDS, RECONCILES
from diffusion_operator.objects import (
    CANDIDATE_LABEL,
    COMPARISON_LABEL,
    HEAD_LABEL,
    SERVICE_LABEL,
    TEST_LABEL,
    Key,
    key_of,
    labels_of,
    target_of,
)
from diffusion_operator.reconcile.comparison import ComparisonReconciler
from diffusion_operator.reconcile.diffusionservice import ServiceReconciler
from diffusion_operator.reconcile.hardware import BUSY_STATES
from diffusion_operator.reconcile.loadtest import TestReconciler
from diffusion_operator.reconcile.writes import Writes
from diffusion_operator.relists import Relists
from diffusion_operator.settings import Settings
from diffusion_operator.workqueue import Retry, WorkQueue

logger = logging.getLogger(__name__)

_LABELS = {
    SERVICE_LABEL: "DiffusionService",
    HEAD_LABEL: "DiffusionService",
    CANDIDATE_LABEL: "DiffusionService",
    TEST_LABEL: "LoadTest",
    COMPARISON_LABEL: "Comparison",
}


# What happens to children comes in bursts, and what is made for the first time goes before them.
SETTLE_SECONDS = 0.2


class ReconcileError(Retry):
    """The API server refused; the message is its answer."""


class Controller:
    """Turns events into keys to reconcile."""

    def __init__(
        self, cluster: Cluster, cache: Cache, settings: Settings, namespaces: Sequence[str] = ()
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        writes = Writes(cluster, cache)
        self._reconcilers: dict[str, Callable[[Key], Awaitable[float | None]]] = {
            "DiffusionService": ServiceReconciler(cluster, cache, writes, settings, utc_now),
            "LoadTest": TestReconciler(cluster, cache, writes, settings, utc_now),
            "Comparison": ComparisonReconciler(cache, writes, settings, utc_now),
        }
        self._queue: WorkQueue[Key] = WorkQueue(self._reconcile, settings.workers)
        self._all_listed = False
        self._relists = Relists(
            cluster,
            cache,
            tuple(self._reconcilers),
            namespaces,
            lambda kind, obj: self.saw(kind, obj, deleted=True),
        )

    def start(self) -> None:
        """Begin to reconcile; what was seen before has been waiting."""
        self._queue.start()
        LEADER.set(1)
        logger.info("the operator has started")

    async def finish(self) -> None:
        """End reconciling; nothing is written any more."""
        await self._relists.stop()
        await self._queue.stop()
        LEADER.set(0)

    async def close(self) -> None:
        """Drop the connections."""
        await self._cluster.close()

    async def _reconcile(self, key: Key) -> float | None:
        outcome = "failed"
        try:
            with RECONCILE_SECONDS.labels(key.kind).time():
                delay = await self._reconcilers[key.kind](key)
        except ApiError as error:
            # The client's own text is a traceback; what the API server said is what helps.
            said = f"{error.status} {error.reason}: {said_by(error)}"
            raise ReconcileError(said, after=error.retry_after) from error
        else:
            outcome = "done"
            return delay
        finally:
            RECONCILES.labels(key.kind, outcome).inc()

    def saw(
        self, kind: str, obj: Mapping[str, Any], *, deleted: bool, listed: bool = False
    ) -> None:
        """An event of what people write, or an object of its list, after the indices have it.

        kopf tells of none before it has listed all.
        """
        self._all_listed = True
        self._relists.saw(obj["metadata"]["uid"], listed=listed, deleted=deleted)
        key = self._caught_up(kind, obj, deleted=deleted)
        self._wake(key, obj)
        if kind == "DiffusionService":
            self._wake_tests(key.namespace, key.name)
        if kind == "LoadTest" and (deleted or not _has_its_turn(obj)):
            self._wake_rivals(key, obj)
        if kind == "Comparison" and (deleted or _state(obj) not in BUSY_STATES):
            self._wake_waiting(key)
        self._wake_owners(key, obj)

    def saw_child(self, kind: str, obj: Mapping[str, Any], *, deleted: bool) -> None:
        """What happened to a child, after the indices have taken it in."""
        key = self._caught_up(kind, obj, deleted=deleted)
        if not self._all_listed:
            return  # whose owners are listed later are looked at then
        target = labels_of(obj).get(SERVICE_LABEL)
        if target and kind == "Pod":
            # A pod of a service may restart without its service's status moving.
            self._wake_tests(key.namespace, target)
        self._wake_owners(key, obj)

    def listed(self, kind: str, namespace: str, uids: set[str], resource_version: int) -> None:
        """A list of children, of that version; "" stands for all namespaces.

        What was written before it and isn't in it has gone, without the watch ever having seen it.
        """
        for obj in self._cache.written_before(kind, namespace, resource_version):
            if obj["metadata"]["uid"] not in uids:
                self.saw_child(kind, obj, deleted=True)

    def _caught_up(self, kind: str, obj: Mapping[str, Any], *, deleted: bool) -> Key:
        meta = obj["metadata"]
        key = Key(kind, meta["namespace"], meta["name"])
        self._cache.saw(key, obj, deleted=deleted)
        return key

    def _wake_owners(self, key: Key, obj: Mapping[str, Any]) -> None:
        for label, owner_kind in _LABELS.items():
            owner = labels_of(obj).get(label)
            if owner:
                self._queue.add_later(Key(owner_kind, key.namespace, owner), SETTLE_SECONDS)

    def _wake_tests(self, namespace: str, target: str) -> None:
        for test in self._cache.tests(namespace, target):
            self._queue.add(Key("LoadTest", namespace, test["metadata"]["name"]))

    def _wake(self, key: Key, obj: Mapping[str, Any]) -> None:
        """Have it looked at: at once what is new, and later what was looked at as it is asked."""
        status = obj.get("status") or {}
        if status and status.get("observedGeneration") == obj["metadata"].get("generation"):
            # What stands in the echo of one's own write may be newer than what was read.
            self._queue.add_later(key, SETTLE_SECONDS)
        else:
            self._queue.add(key)

    def _wake_rivals(self, key: Key, test: Mapping[str, Any]) -> None:
        """The tests that may wait for this one to be done with their target."""
        for rival in self._cache.tests(key.namespace, target_of(test)):
            if rival["metadata"]["name"] != key.name:
                self._queue.add(Key("LoadTest", key.namespace, rival["metadata"]["name"]))

    def _wake_waiting(self, key: Key) -> None:
        """The comparisons that may wait for this one to be done with the hardware."""
        for rival in map(key_of, self._cache.all("Comparison")):
            if rival.namespace == key.namespace and rival != key:
                self._queue.add(rival)


def _has_its_turn(test: Mapping[str, Any]) -> bool:
    return _state(test) in {"Starting", "Running", "Queued"}


def _state(obj: Mapping[str, Any]) -> str:
    return str((obj.get("status") or {}).get("state", ""))
