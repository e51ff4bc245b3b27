"""Gateway policies: what a cloud's own Gateway needs besides an HTTPRoute."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs import gke_policies
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import Cluster
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.objects import Key, Object


class GatewayPolicies:
    """Policies of the clusters that have their kinds, which are GKE's with a Gateway controller."""

    def __init__(self, cluster: Cluster, cache: Cache, discovery: ApiDiscovery) -> None:
        self._cluster = cluster
        self._cache = cache
        self._discovery = discovery

    async def of(self, owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> list[Object]:
        """Policies of a service behind a Gateway, or none.

        Raises:
            ApiError: The API server refused.
        """
        if spec.route is None or spec.route.gateway_ref is None:
            return []
        meta = owner["metadata"]
        key = Key(gke_policies.HEALTH, meta["namespace"], meta["name"])
        # An API server that starts may omit the group while the policies exist.
        listed = gke_policies.API_VERSION in await self._discovery.groups()
        if not listed and self._cache.get(key) is None:
            return []
        # The group is on every GKE cluster; the kinds come with the Gateway controller.
        if not await self._cluster.knows_kind_of(key):
            return []
        return [
            gke_policies.health_check_policy(owner),
            gke_policies.backend_policy(owner, spec),
        ]
