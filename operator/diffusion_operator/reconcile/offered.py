"""What the cluster offers beside Kubernetes' own kinds."""

import time
from collections.abc import Callable

from diffusion_operator.cluster import Cluster

# It changes when someone installs something: asked for seldom, seen soon.
GROUPS_FOR_SECONDS = 10.0


class Offered:
    """The cluster's API groups, asked for every few seconds at most."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._groups: frozenset[str] = frozenset()
        self._at: float | None = None

    async def groups(self) -> frozenset[str]:
        """The API groups that the cluster knows, as ``Cluster.groups``. Raises ``ApiError``."""
        if self._at is None or self._clock() - self._at > GROUPS_FOR_SECONDS:
            self._groups, self._at = await self._cluster.groups(), self._clock()
        return self._groups
