"""What there is of the children, by a list and a watch of each kind.

They are the operator's own: kopf's handling of an event takes several times as long as what is
done about it here (docs/adr/0021). kopf watches what people write.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Protocol

import aiohttp

from diffusion_operator.cache import trimmed
from diffusion_operator.children import KINDS, Children, Kept
from diffusion_operator.cluster import ApiError, Cluster, NotFoundError, api_version_of
from diffusion_operator.metrics import WATCH_ERRORS
from diffusion_operator.objects import Object, labels_of

logger = logging.getLogger(__name__)

# Between one watch and the next of a kind, however the first ended.
RECONNECT_SECONDS = 0.1
# Doubled so often at most, where one fails after another: to some 13 seconds.
_DOUBLINGS = 7
# Of a watch that goes on failing one is told in so many, beside the first few.
_TOLD_OF = 100
# A kind whose definition is installed later (KEDA's, say) is found after so long at most.
UNSERVED_SECONDS = 60.0


class Told(Protocol):
    """Is told of what the watches see, after the indices have taken it in."""

    def saw_child(self, kind: str, obj: Object, *, deleted: bool) -> None:
        """What happened to an object."""

    def listed(self, kind: str, namespace: str, uids: set[str], resource_version: int) -> None:
        """What there is; "" stands for all namespaces."""


class Watch:
    """Keeps what there is of one kind, in one namespace or in all, and tells of what happens."""

    def __init__(self, cluster: Cluster, kind: str, namespace: str, kept: Kept, told: Told) -> None:
        self._cluster = cluster
        self._kind = kind
        self._namespace = namespace
        self._kept = kept
        self._told = told
        self._version = ""
        self._failures = 0
        self.listed = asyncio.Event()
        """Set once all that was there at the beginning is kept."""

    async def run(self) -> None:
        """Go on for ever: from where a watch ended, or by a list where its place is forgotten."""
        while True:
            pause = await self._attempt()
            await asyncio.sleep(pause)

    async def _attempt(self) -> float:
        """One list or watch; returns in how many seconds to make the next."""
        try:
            if not self._version:
                self._version = await self._list()
                self.listed.set()
            await self._follow()
        except aiohttp.SocketTimeoutError:  # a watch that has been silent for long
            return RECONNECT_SECONDS
        except (aiohttp.ClientError, OSError) as error:  # what was missed is told by a next watch
            return self._failed(error)
        except NotFoundError:
            self._version = ""
            self._forget(self._kept.uids())
            self.listed.set()
            return UNSERVED_SECONDS
        except Exception as error:  # noqa: BLE001 - whatever fails, a list puts it right
            self._version = ""
            return self._refused(error) if isinstance(error, ApiError) else self._failed(error)
        return RECONNECT_SECONDS

    def _refused(self, error: ApiError) -> float:
        """What to make of a refusal; returns in how many seconds to try again."""
        if error.status == HTTPStatus.GONE:  # as happens to every watch of what seldom changes
            return RECONNECT_SECONDS
        if error.status == HTTPStatus.FORBIDDEN:
            self.listed.set()  # the others must not wait for the right to it
        return max(self._failed(error), error.retry_after or 0)

    def _failed(self, error: Exception) -> float:
        """Note the failure; returns in how many seconds to try again."""
        self._failures += 1
        WATCH_ERRORS.inc()
        pause = RECONNECT_SECONDS * 2.0 ** min(self._failures, _DOUBLINGS)
        if self._failures <= _DOUBLINGS or self._failures % _TOLD_OF == 0:
            said = f"{type(error).__name__}: {error}"
            logger.warning("the watch of %s failed, again in %.1f s: %s", self._kind, pause, said)
        return pause

    async def _list(self) -> str:
        """Keep what there is, and tell of what has gone; returns the version to watch from."""
        there, version = set(), ""
        async with aclosing(self._cluster.pages(self._kind, self._namespace)) as pages:
            async for version, items in pages:  # noqa: B007 - that of the last page
                for obj in items:
                    there.add(obj["metadata"]["uid"])
                    self._take(obj, gone=False)
        self._forget(self._kept.uids() - there)
        self._told.listed(self._kind, self._namespace, there, int(version))
        return version

    def _forget(self, uids: set[str]) -> None:
        for uid in uids:
            gone = self._kept.drop(uid)
            if gone is not None:
                self._told.saw_child(self._kind, gone, deleted=True)

    async def _follow(self) -> None:
        watching = self._cluster.watch(self._kind, self._namespace, self._version)
        async with aclosing(watching) as events:
            async for said, obj in events:
                self._failures = 0
                if said != "BOOKMARK":
                    self._take(obj, gone=said == "DELETED")
                self._version = obj["metadata"]["resourceVersion"]

    def _take(self, obj: Object, *, gone: bool) -> None:
        if gone:
            self._kept.drop(obj["metadata"]["uid"])
        else:
            known = self._kept.put(trimmed(obj, self._kind, api_version_of(self._kind)))
            if known is not None and labels_of(known) != labels_of(obj):
                # It may have belonged to someone else, who has lost it.
                self._told.saw_child(self._kind, known, deleted=False)
        self._told.saw_child(self._kind, obj, deleted=gone)


class Watches:
    """The watches of all kinds, each in each of the namespaces."""

    def __init__(
        self,
        cluster: Cluster,
        children: Children,
        namespaces: Sequence[str],
        *,
        told: Told,
        broken: Callable[[], None],
    ) -> None:
        """The ``cluster`` must have a connection for each of them, and is closed in the end.

        ``broken`` is called should one of them end.
        """
        self._cluster = cluster
        self._broken = broken
        self._watches = [
            Watch(cluster, kind, namespace, children.kept(kind), told)
            for kind in KINDS
            for namespace in namespaces or [""]
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Watch from now on; returns when all that is there is known."""
        self._tasks = [asyncio.create_task(watch.run()) for watch in self._watches]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        for watch in self._watches:
            await watch.listed.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A watch never ends by itself, but by a mistake in it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a watch ended: %s: %s", type(error).__name__, error)
            self._broken()

    async def stop(self) -> None:
        """End the watches."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            # One that has ended by itself has told of that.
            with suppress(asyncio.CancelledError, Exception):
                await task
        await self._cluster.close()
