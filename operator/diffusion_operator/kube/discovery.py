"""API discovery: the API groups that a cluster serves."""

import time
from collections.abc import Callable

from diffusion_operator.kube.client import Cluster

# API groups change when someone installs an operator: rare requests, soon noticed.
GROUPS_FOR_SECONDS = 10.0


class ApiDiscovery:
    """Cached API groups, refreshed every few seconds at most."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._groups: frozenset[str] = frozenset()
        self._at: float | None = None

    async def groups(self) -> frozenset[str]:
        """API groups of the cluster, as ``Cluster.groups`` returns them.

        Raises:
            ApiError: The API server refused.
        """
        if self._at is None or self._clock() - self._at > GROUPS_FOR_SECONDS:
            self._groups, self._at = await self._cluster.groups(), self._clock()
        return self._groups
