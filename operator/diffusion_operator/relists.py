"""What went while no one was told.

Where the API server no longer knows what a watch has missed, kopf lists anew. The list tells of
what is there; what has gone meanwhile stays in kopf's indices until someone says so.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from diffusion_operator.cache import Cache
from diffusion_operator.cluster import Cluster
from diffusion_operator.objects import Object

logger = logging.getLogger(__name__)

# Kinds are listed anew one soon after another, and each of their objects is told of.
SETTLED_SECONDS = 3.0
AGAIN_SECONDS = 15.0


class Relists:
    """Notices that objects are listed again, and then tells which of those known are gone."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        kinds: Sequence[str],
        namespaces: Sequence[str],
        gone: Callable[[str, Object], None],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._kinds = kinds
        self._namespaces = namespaces
        self._gone = gone
        self._seen: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    def saw(self, uid: str, *, listed: bool, deleted: bool) -> None:
        """An event of the watch, or an object of its list."""
        if deleted:
            self._seen.discard(uid)
        elif listed and uid in self._seen:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
        else:
            self._seen.add(uid)

    async def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        await asyncio.sleep(SETTLED_SECONDS)
        left = list(self._kinds)
        while left:
            try:
                await self._compare(left[0])
                left = left[1:]
            except Exception as error:  # noqa: BLE001 - whatever fails, it must be known at last
                said = f"{type(error).__name__}: {error}"
                logger.warning("what is gone is not known yet: %s", said)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _compare(self, kind: str) -> None:
        # In this order: what comes after the list began is in neither.
        known = self._cache.all(kind)
        if not known:
            return
        there = await self._cluster.uids(kind, self._namespaces)
        for obj in known:
            uid = obj["metadata"]["uid"]
            if there is not None and uid not in there:
                self._cache.forget(uid)
                self._seen.discard(uid)
                self._gone(kind, obj)
