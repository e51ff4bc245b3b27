"""Controller: enqueues the resources that an event of kopf or of a child's watch concerns.

Only low-level event handlers are used. Such handlers write nothing to the objects (no finalizer, no
annotation), so that users can delete a resource while the operator is down.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import kopf

from diffusion_operator.api.observed import ObservedRun, ObservedStatus
from diffusion_operator.comparison.reconciler import ComparisonReconciler
from diffusion_operator.diffusionservice.reconciler import ServiceReconciler
from diffusion_operator.kube.applier import Applier
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, Cluster, message_of
from diffusion_operator.kube.kinds import CUSTOM_KINDS, KINDS
from diffusion_operator.kube.metrics import LEADER, RECONCILE_SECONDS, RECONCILES
from diffusion_operator.kube.objects import (
    CANARY_LABEL,
    HEAD_LABEL,
    SERVICE_LABEL,
    Key,
    key_of,
    labels_of,
)
from diffusion_operator.kube.problems import is_passing
from diffusion_operator.kube.resync import Resync
from diffusion_operator.kube.timestamps import utc_now
from diffusion_operator.kube.workqueue import Retry, WorkQueue
from diffusion_operator.loadtest.admission import rivals
from diffusion_operator.loadtest.reconciler import TestReconciler
from diffusion_operator.settings import Settings

logger = logging.getLogger(__name__)

_OWNER_KINDS = {
    **{kind.owner_label: name for name, kind in CUSTOM_KINDS.items()},
    HEAD_LABEL: "DiffusionService",
    CANARY_LABEL: "DiffusionService",
}
"""Owner kind of each label by which a child names its owner."""


# Events of children come in bursts, and new resources go before them.
SETTLE_SECONDS = 0.2


class ReconcileError(Retry):
    """Refusal during a reconcile; the message is the API server's answer."""


class Controller:
    """Mapper from events to keys to reconcile."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        settings: Settings,
        namespaces: Sequence[str] = (),
        *,
        on_failure: Callable[[], None] = lambda: None,
        holder: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Create the controller.

        Args:
            cluster: Client of the API server.
            cache: Watched objects.
            settings: Configuration of the operator.
            namespaces: The watched namespaces; none means all.
            on_failure: Called when a worker ends by an error.
            holder: Another release that reconciles a namespace's objects, if there is one.
        """
        self._holder = holder
        self._cluster = cluster
        self._cache = cache
        applier = Applier(cluster, cache, children=settings.children)
        self._applier = applier
        self._left: dict[Key, str] = {}
        """Release that reconciles each object which this one has left alone."""
        self._reconcilers: dict[str, Callable[[Key], Awaitable[float | None]]] = {
            "DiffusionService": ServiceReconciler(cluster, cache, applier, settings, utc_now),
            "LoadTest": TestReconciler(cluster, cache, applier, settings, utc_now),
            "Comparison": ComparisonReconciler(cache, applier, settings, utc_now),
        }
        self._queue: WorkQueue[Key] = WorkQueue(self._reconcile, settings.workers, on_failure)
        self._all_listed = False
        self._resync = Resync(
            cluster,
            cache,
            tuple(self._reconcilers),
            namespaces,
            lambda kind, obj: self.on_event(kind, obj, deleted=True),
        )

    def start(self) -> None:
        """Start the workers; keys enqueued before are waiting."""
        self._queue.start()
        LEADER.set(1)
        logger.info("the operator has started")

    def halt(self) -> None:
        """Cancel all work at once, requests under way included."""
        self._queue.halt()

    async def finish(self) -> None:
        """Stop the workers, after which nothing is written."""
        await self._resync.stop()
        await self._queue.stop()
        LEADER.set(0)

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()

    def enqueue_all(self) -> None:
        """Enqueue each resource, since another release may have begun or ceased to hold it."""
        for kind in self._reconcilers:
            for obj in self._cache.all(kind):
                self._queue.add(key_of(obj))

    async def _reconcile(self, key: Key) -> float | None:
        if (holder := self._holder(key.namespace)) is not None:
            await self._leave(key, holder)
            return None
        self._left.pop(key, None)
        outcome = "failed"
        try:
            with RECONCILE_SECONDS.labels(key.kind).time():
                delay = await self._reconcilers[key.kind](key)
        except ApiError as error:
            # The API server's message helps; the client's text is a traceback.
            message = f"{error.status} {error.reason}: {message_of(error)}"
            passes = is_passing(error)
            raise ReconcileError(message, after=error.retry_after, passes=passes) from error
        else:
            outcome = "done"
            return delay
        finally:
            RECONCILES.labels(key.kind, outcome).inc()

    async def _leave(self, key: Key, holder: str) -> None:
        """Say once, on the object itself, which other release reconciles it."""
        owner = self._cache.get(key)
        if owner is None:
            self._left.pop(key, None)
        elif self._left.get(key) != holder:
            await self._applier.leave(owner, holder)
            self._left[key] = holder

    def on_event(
        self, kind: str, obj: Mapping[str, Any], *, deleted: bool, listed: bool = False
    ) -> None:
        """Handle an event or list item of a custom resource, after the indices have it.

        kopf reports none before it has listed all.
        """
        self._all_listed = True
        self._resync.on_event(obj["metadata"]["uid"], listed=listed, deleted=deleted)
        key = self._record(kind, obj, deleted=deleted)
        self._wake(key, obj)
        if kind == "DiffusionService":
            self._wake_tests(key.namespace, key.name)
        if kind == "LoadTest" and (deleted or not ObservedRun.of(obj).state.holds_turn):
            self._wake_rivals(key, obj)
        if kind == "Comparison" and (deleted or not ObservedRun.of(obj).state.is_active):
            self._wake_waiting(key)
        self._wake_owners(key, obj)

    def on_child_event(self, kind: str, obj: Mapping[str, Any], *, deleted: bool) -> None:
        """Handle an event of a child, after the stores have it."""
        key = self._record(kind, obj, deleted=deleted)
        if not self._all_listed:
            return  # its owner is enqueued when it is listed
        target = labels_of(obj).get(SERVICE_LABEL)
        if target and kind == "Pod":
            # A pod may restart without a change of its service's status.
            self._wake_tests(key.namespace, target)
        self._wake_owners(key, obj)

    def on_list(self, kind: str, namespace: str, uids: set[str], resource_version: int) -> None:
        """Handle a complete list of a child kind at that version; ``""`` means all namespaces.

        A kept write below the version that the list lacks was deleted without any watch event.
        """
        for obj in self._cache.writes_before(kind, namespace, resource_version):
            if obj["metadata"]["uid"] not in uids:
                self.on_child_event(kind, obj, deleted=True)

    def _record(self, kind: str, obj: Mapping[str, Any], *, deleted: bool) -> Key:
        meta = obj["metadata"]
        key = Key(kind, meta["namespace"], meta["name"])
        self._cache.on_event(key, obj, deleted=deleted)
        return key

    def _wake_owners(self, key: Key, obj: Mapping[str, Any]) -> None:
        for label, owner_kind in _OWNER_KINDS.items():
            owner = labels_of(obj).get(label)
            if owner:
                self._queue.add_later(Key(owner_kind, key.namespace, owner), SETTLE_SECONDS)

    def _wake_tests(self, namespace: str, target: str) -> None:
        for test in self._cache.tests(namespace, target):
            self._queue.add(key_of(test))

    def _wake(self, key: Key, obj: Mapping[str, Any]) -> None:
        """Enqueue now if the generation is unobserved, else after the settle delay."""
        observed = ObservedStatus.of(obj).observed_generation
        if observed and observed == obj["metadata"].get("generation"):
            # The event may be an echo of the operator's own write.
            self._queue.add_later(key, SETTLE_SECONDS)
        else:
            self._queue.add(key)

    def _wake_rivals(self, key: Key, test: Mapping[str, Any]) -> None:
        """Enqueue the LoadTests that may wait for this one's target."""
        for rival in map(key_of, rivals(self._cache, test)):
            if rival != key:
                self._queue.add(rival)

    def _wake_waiting(self, key: Key) -> None:
        """Enqueue the Comparisons that may wait for this one's hardware."""
        for rival in map(key_of, self._cache.all("Comparison")):
            if rival.namespace == key.namespace and rival != key:
                self._queue.add(rival)


def selector(kind: str) -> tuple[str, str, str]:
    """Selector of a kind for kopf: group, version and plural."""
    served = KINDS[kind]
    return served.group, served.version, served.plural


def _wake_on_events(kind: str) -> None:
    async def wake(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:
        controller: Controller = memo.controller
        # The raw object is used, since kopf's view looks up every field again.
        event_type, obj = event["type"], event["object"]
        controller.on_event(kind, obj, deleted=event_type == "DELETED", listed=event_type is None)

    kopf.on.event(*selector(kind), id=f"wake-{kind}")(wake)


for _kind in CUSTOM_KINDS:
    _wake_on_events(_kind)
