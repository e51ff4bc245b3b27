"""Resync: detects objects deleted during a watch gap.

kopf lists again where the API server no longer knows what a watch missed. The list shows existing
objects; deleted ones stay in kopf's indices until a comparison finds them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import Cluster
from diffusion_operator.kube.objects import Object

logger = logging.getLogger(__name__)

# kopf lists the kinds one soon after another and reports each object.
SETTLED_SECONDS = 3.0
AGAIN_SECONDS = 15.0


class Resync:
    """Detector of repeated lists, which then reports the known objects that are gone."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        kinds: Sequence[str],
        namespaces: Sequence[str],
        on_deleted: Callable[[str, Object], None],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._kinds = kinds
        self._namespaces = namespaces
        self._on_deleted = on_deleted
        self._seen: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def on_event(self, uid: str, *, listed: bool, deleted: bool) -> None:
        """Note a watch event or a list item."""
        if deleted:
            self._seen.discard(uid)
        elif listed and uid in self._seen:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
        else:
            self._seen.add(uid)

    async def stop(self) -> None:
        """Stop the comparison."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        await asyncio.sleep(SETTLED_SECONDS)
        left = list(self._kinds)
        while left:
            try:
                await self._compare(left[0])
                left = left[1:]
            except Exception as error:  # noqa: BLE001 - whatever fails, it must be known at last
                message = f"{type(error).__name__}: {error}"
                logger.warning("the resync after a watch gap failed, retrying: %s", message)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _compare(self, kind: str) -> None:
        # The order matters: objects created after the list began are in neither set.
        known = self._cache.all(kind)
        if not known:
            return
        there = await self._cluster.uids(kind, self._namespaces)
        for obj in known:
            uid = obj["metadata"]["uid"]
            if there is not None and uid not in there:
                self._cache.forget(uid)
                self._seen.discard(uid)
                self._on_deleted(kind, obj)
