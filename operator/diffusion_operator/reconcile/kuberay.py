"""A DiffusionService's Ray cluster where KubeRay makes it, of a RayService."""

from collections.abc import Awaitable, Callable

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.optional import optional_children
from diffusion_operator.build.ray_cluster import head_name, is_cluster
from diffusion_operator.build.ray_service import API_VERSION, LONGEST_NAME, ray_service, workers_of
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import ApiError, Cluster, unknown_group
from diffusion_operator.kuberay import all_answer, as_deployment, coming_cluster, told_by
from diffusion_operator.objects import (
    REVISION_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.reconcile.offered import Offered
from diffusion_operator.reconcile.writes import LeftoverError
from diffusion_operator.settings import Settings

Make = Callable[[list[Object], list[Object], str], Awaitable[list[Object]]]
"""Has the makers of pods and the other children be there, of pods of that revision."""

_GROUP = API_VERSION.partition("/")[0]
_GOES = "KubeRay's kinds have just gone, and its Ray cluster with them: another is made"


class KubeRay:
    """Has it make the pods, where it is installed."""

    def __init__(
        self, cluster: Cluster, cache: Cache, settings: Settings, offered: Offered
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._settings = settings
        self._offered = offered

    async def is_asked(self, owner: Object, spec: DiffusionServiceSpec) -> bool:
        """Whether it makes the Ray cluster; one that this operator has made runs on.

        Raises ``ApiError``.
        """
        if not is_cluster(spec):
            return False
        namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
        head = self._cache.get(Key("Deployment", namespace, head_name(owner)))
        can_go = spec.suspend and len(name) <= LONGEST_NAME
        if head is not None and is_owned(head, owner) and not can_go:
            return False
        if API_VERSION in await self._offered.groups():
            return True
        # An API server that has just started may leave it out, and the RayService runs on.
        return await self._cluster.knows_kind_of(Key("RayService", namespace, name))

    async def pods(self, owner: Object, spec: DiffusionServiceSpec, make: Make) -> Object:
        """Have it make the pods; returns their RayService as a Deployment of them.

        Raises ``BuildError``, ``ApiError``, and as ``make``.
        """
        meta = owner["metadata"]
        built = ray_service(owner, spec, self._settings)
        others = optional_children(owner, spec, self._settings, kuberay=True)
        # A RayService can't be suspended, but made anew; one without workers would keep its head.
        makers = [] if spec.suspend or spec.replicas == 0 else [built]
        revision = labels_of(workers_of(built)["template"])[REVISION_LABEL]
        await self._look_at(key_of(built))
        try:
            made = await make(makers, others, revision)
        except ApiError as error:
            if unknown_group(error) != _GROUP or API_VERSION in await self._cluster.groups():
                raise
            raise LeftoverError(_GOES) from error
        pods = self._cache.pods_of(meta["namespace"], meta["name"], SERVICE_LABEL)
        found = as_deployment(made[0] if makers else built, pods)
        coming = coming_cluster(found)
        if not coming or all_answer(found):
            return found
        said = await self._cluster.get(Key("RayCluster", meta["namespace"], coming))
        return told_by(found, said)

    async def _look_at(self, key: Key) -> None:
        """Know the RayService as it is, watched or not."""
        found = await self._cluster.get(key)
        if found is None:
            self._cache.is_absent(key)
        else:
            self._cache.wrote(found)
