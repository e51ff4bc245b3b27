"""Mount events: the kubelet's FailedMount Events, read once for all services of a namespace."""

import asyncio
import time
from collections.abc import Callable

from diffusion_operator.kube.client import Cluster
from diffusion_operator.kube.objects import Object

# The kubelet repeats a failed mount after half a second at first, and after two minutes at last.
FRESH_SECONDS = 4.0


class MountEvents:
    """Cached FailedMount Events by namespace."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: dict[str, tuple[float, list[Object]]] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def of(self, namespace: str) -> list[Object]:
        """FailedMount Events of the namespace's pods, at most a few seconds old.

        Raises:
            ApiError: The API server refused.
        """
        async with self._reading.setdefault(namespace, asyncio.Lock()):
            at, events = self._known.get(namespace, (-FRESH_SECONDS, []))
            if self._clock() - at >= FRESH_SECONDS:
                events = await self._cluster.pod_events(namespace, reason="FailedMount")
                self._known[namespace] = self._clock(), events
            return events
