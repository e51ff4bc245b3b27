"""KubeRay: a RayService makes the Ray cluster of a DiffusionService."""

from dataclasses import dataclass

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.kuberay.workload import (
    RayWorkload,
    ray_workload,
    scale_operations,
)
from diffusion_operator.diffusionservice.rollout.upgrade import UpgradeTurns
from diffusion_operator.diffusionservice.specs.ray_service import (
    API_VERSION,
    kept_ray_service,
    ray_service,
    workers_revision,
)
from diffusion_operator.diffusionservice.specs.upgrade_mark import marked, needs_mark
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, Cluster, unknown_group
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.objects import SERVICE_LABEL, Key, Object, is_owned, key_of
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Settings

_GROUP = API_VERSION.partition("/")[0]
_MISSING = (
    "rayserve.topology: cluster needs KubeRay, which makes the Ray cluster: install KubeRay, or "
    "use rayserve.topology: pods"
)


@dataclass(frozen=True)
class RayServicePlan:
    """Desired RayService."""

    built: Object
    workloads: list[Object]
    """Objects to apply; none while no pod is desired."""
    is_upgrade_pending: bool = False
    """Whether the pods of an earlier release stay for now."""

    @property
    def revision(self) -> str:
        """Revision of its pods."""
        return workers_revision(self.built)


class KubeRay:
    """Planner and observer of RayServices, where KubeRay is installed."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        settings: Settings,
        discovery: ApiDiscovery,
        *,
        turns: UpgradeTurns,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._settings = settings
        self._discovery = discovery
        self._turns = turns

    async def require(self, owner: Object) -> None:
        """Check that KubeRay is installed, which makes the pods of a Ray cluster.

        Raises:
            SpecError: KubeRay is not installed.
            ApiError: The API server refused.
        """
        meta = owner["metadata"]
        place = Key("RayService", meta["namespace"], meta["name"])
        # A starting API server may omit the group while the RayService exists.
        if API_VERSION in await self._discovery.groups():
            return
        if not await self._cluster.knows_kind_of(place):
            raise SpecError("KubeRayMissing", _MISSING)

    async def plan(self, owner: Object, spec: DiffusionServiceSpec) -> RayServicePlan:
        """Plan the RayService to apply.

        Raises:
            SpecError: KubeRay can't make what the spec says.
            ApiError: The API server refused.
        """
        built = ray_service(owner, spec, self._settings)
        await self._refresh(key_of(built))
        observed = self._cache.get(key_of(built))
        if observed is not None and not is_owned(observed, owner):
            observed = None
        if observed is None or needs_mark(built, observed, workers_revision):
            built = marked(built, owner)
        # A RayService can't be suspended, only deleted; without workers it would keep its head.
        if spec.suspend or spec.replicas == 0:
            return RayServicePlan(built, [])
        if observed is not None and self._waits(owner, built, observed):
            built = kept_ray_service(built, observed)
            return RayServicePlan(built, [built], is_upgrade_pending=True)
        return RayServicePlan(built, [built])

    def _waits(self, owner: Object, built: Object, observed: Object) -> bool:
        """Whether the pods of an earlier release stay for now."""
        meta = owner["metadata"]
        pods = self._cache.pods_of(meta["namespace"], meta["name"], SERVICE_LABEL)
        return self._turns.waits(owner, built, observed, pods, revision=workers_revision)

    async def raise_if_uninstalled(self, error: ApiError) -> None:
        """Check whether a refusal came from the removal of KubeRay's kinds.

        Raises:
            SpecError: KubeRay's kinds were removed.
        """
        if unknown_group(error) == _GROUP and API_VERSION not in await self._cluster.groups():
            raise SpecError("KubeRayMissing", _MISSING) from error

    async def scale(self, plan: RayServicePlan, applied: list[Object]) -> RayWorkload:
        """Scale the RayCluster of the applied RayService; return the workload of its workers.

        Raises:
            ApiError: The API server refused.
        """
        meta = plan.built["metadata"]
        pods = self._cache.pods_of(meta["namespace"], meta["name"], SERVICE_LABEL)
        workload = ray_workload(applied[0] if plan.workloads else plan.built, pods)
        coming = workload.coming_cluster
        if not coming or workload.all_answer:
            return workload
        key = Key("RayCluster", meta["namespace"], coming)
        ray_cluster = await self._scaled(key, workload.desired_replicas or 0)
        return workload.with_conditions_of(ray_cluster)

    async def _scaled(self, key: Key, replicas: int) -> Object | None:
        """RayCluster with so many workers, or ``None`` where it doesn't exist."""
        ray_cluster = await self._cluster.get(key)
        # KubeRay never applies changed replicas of a RayService to a RayCluster that exists.
        if ray_cluster is not None and (operations := scale_operations(ray_cluster, replicas)):
            return await self._cluster.json_patch(key, operations)
        return ray_cluster

    async def _refresh(self, key: Key) -> None:
        """Refresh the cached RayService, watched or not."""
        observed = await self._cluster.get(key)
        if observed is None:
            self._cache.record_absence(key)
        else:
            self._cache.record_write(observed)
