"""Informers: a list and a watch of each child kind.

kopf's handling of one event takes several times as long as the operator's own work on it, so kopf
watches the three custom kinds only (docs/adr/0021).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Protocol

import aiohttp

from diffusion_operator.kube.cache import trimmed
from diffusion_operator.kube.client import ApiError, Cluster, NotFoundError
from diffusion_operator.kube.kinds import WATCHED_KINDS, api_version_of
from diffusion_operator.kube.metrics import WATCH_ERRORS
from diffusion_operator.kube.objects import Object, labels_of
from diffusion_operator.kube.store import ChildStores, Store

logger = logging.getLogger(__name__)

# Pause between two watches of a kind.
RECONNECT_SECONDS = 0.1
# Limit of doublings of the pause after failures: some 13 seconds.
_DOUBLINGS = 7
# A failing watch logs its first failures, then one in this many.
_LOGGED_EVERY = 100
# Pause before another list of a kind that the cluster doesn't serve yet (KEDA's, say).
UNSERVED_SECONDS = 60.0


class EventHandler(Protocol):
    """Receiver of the informers' events, after the stores are up to date."""

    def on_child_event(self, kind: str, obj: Object, *, deleted: bool) -> None:
        """Handle an event of one object."""

    def on_list(self, kind: str, namespace: str, uids: set[str], resource_version: int) -> None:
        """Handle a complete list; ``""`` means all namespaces."""


class Informer:
    """Informer of one kind, in one namespace or in all: fills a store and reports events."""

    def __init__(
        self, cluster: Cluster, kind: str, namespace: str, store: Store, handler: EventHandler
    ) -> None:
        self._cluster = cluster
        self._kind = kind
        self._namespace = namespace
        self._store = store
        self._handler = handler
        self._version = ""
        self._failures = 0
        self.synced = asyncio.Event()
        """Event that is set once the first list is stored."""

    async def run(self) -> None:
        """List and watch forever: from the last version, or by a new list where that is gone."""
        while True:
            pause = await self._attempt()
            await asyncio.sleep(pause)

    async def _attempt(self) -> float:
        """One list or watch.

        Returns:
            Seconds until the next one.
        """
        try:
            if not self._version:
                self._version = await self._list()
                self.synced.set()
            await self._follow()
        except (aiohttp.ClientError, OSError) as error:  # the next watch reports the missed events
            return self._failed(error)
        except NotFoundError:
            self._version = ""
            self._forget(self._store.uids())
            self.synced.set()
            return UNSERVED_SECONDS
        except Exception as error:  # noqa: BLE001 - whatever fails, a list puts it right
            self._version = ""
            return self._refused(error) if isinstance(error, ApiError) else self._failed(error)
        return RECONNECT_SECONDS

    def _refused(self, error: ApiError) -> float:
        """Handle a refusal.

        Returns:
            Seconds until the next attempt.
        """
        if error.status == HTTPStatus.GONE:  # a watch of a rarely changing kind ends so
            return RECONNECT_SECONDS
        if error.status == HTTPStatus.FORBIDDEN:
            self.synced.set()  # other kinds must not wait for this permission
        return max(self._failed(error), error.retry_after or 0)

    def _failed(self, error: Exception) -> float:
        """Count and log the failure.

        Returns:
            Seconds until the next attempt.
        """
        self._failures += 1
        WATCH_ERRORS.inc()
        pause = RECONNECT_SECONDS * 2.0 ** min(self._failures, _DOUBLINGS)
        if self._failures <= _DOUBLINGS or self._failures % _LOGGED_EVERY == 0:
            message = f"{type(error).__name__}: {error}"
            logger.warning(
                "the watch of %s failed, again in %.1f s: %s", self._kind, pause, message
            )
        return pause

    async def _list(self) -> str:
        """Store a complete list and report deleted objects.

        Returns:
            The version to watch from.
        """
        there, version = set(), ""
        async with aclosing(self._cluster.pages(self._kind, self._namespace)) as pages:
            async for version, items in pages:  # noqa: B007 - that of the last page
                for obj in items:
                    there.add(obj["metadata"]["uid"])
                    self._take(obj, gone=False)
        self._forget(self._store.uids() - there)
        self._handler.on_list(self._kind, self._namespace, there, int(version))
        return version

    def _forget(self, uids: set[str]) -> None:
        for uid in uids:
            gone = self._store.drop(uid)
            if gone is not None:
                self._handler.on_child_event(self._kind, gone, deleted=True)

    async def _follow(self) -> None:
        watching = self._cluster.watch(self._kind, self._namespace, self._version)
        async with aclosing(watching) as events:
            async for event_type, obj in events:
                self._failures = 0
                if event_type != "BOOKMARK":
                    self._take(obj, gone=event_type == "DELETED")
                self._version = obj["metadata"]["resourceVersion"]

    def _take(self, obj: Object, *, gone: bool) -> None:
        if gone:
            self._store.drop(obj["metadata"]["uid"])
        else:
            known = self._store.put(trimmed(obj, self._kind, api_version_of(self._kind)))
            if known is not None and labels_of(known) != labels_of(obj):
                # The former owner in the labels has lost this child.
                self._handler.on_child_event(self._kind, known, deleted=False)
        self._handler.on_child_event(self._kind, obj, deleted=gone)


class Informers:
    """Informers of all watched kinds in all watched namespaces."""

    def __init__(
        self,
        cluster: Cluster,
        stores: ChildStores,
        namespaces: Sequence[str],
        *,
        handler: EventHandler,
        on_failure: Callable[[], None],
    ) -> None:
        """Create the informers.

        Args:
            cluster: Client with a connection for each informer; ``stop`` closes it.
            stores: Stores that the informers fill.
            namespaces: Namespaces to watch; none stands for all.
            handler: Receiver of the events.
            on_failure: Called when an informer ends by an error.
        """
        self._cluster = cluster
        self._on_failure = on_failure
        self._informers = [
            Informer(cluster, kind, namespace, stores.store(kind), handler)
            for kind in WATCHED_KINDS
            for namespace in namespaces or [""]
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all informers; returns once each has stored its first list."""
        self._tasks = [asyncio.create_task(informer.run()) for informer in self._informers]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        for informer in self._informers:
            await informer.synced.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Report an informer that ended, which only a programming error causes."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(
                "unhandled exception in an informer, exiting: %s: %s", type(error).__name__, error
            )
            self._on_failure()

    async def stop(self) -> None:
        """Stop the informers."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            # A failed informer has logged its error already.
            with suppress(asyncio.CancelledError, Exception):
                await task
        await self._cluster.close()
