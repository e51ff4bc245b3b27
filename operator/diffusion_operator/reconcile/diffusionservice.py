"""DiffusionService → ServiceAccount, Deployment, Service; and its status."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pydantic import ValidationError

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build import BuildError
from diffusion_operator.build.accelerator import accelerator_of
from diffusion_operator.build.candidate import candidate_name, preview_url
from diffusion_operator.build.deployment import revision_of
from diffusion_operator.build.good_revision import kept_claims, kept_revision
from diffusion_operator.build.model_size import misfit
from diffusion_operator.build.optional import optional_children, optional_keys
from diffusion_operator.build.pod import has_volumes_of_others
from diffusion_operator.build.ray_cluster import head_name, is_cluster, token_secret
from diffusion_operator.build.service import service
from diffusion_operator.build.service_account import service_account
from diffusion_operator.build.serving_config import precision_of
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import ApiError, Cluster
from diffusion_operator.kuberay import as_deployment, counted, is_kuberays, served_cluster
from diffusion_operator.objects import (
    HEAD_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    condition_of,
    is_owned,
    key_of,
)
from diffusion_operator.observe import Pods, mount_failure, observe_pods, with_head
from diffusion_operator.reconcile.kuberay import KubeRay
from diffusion_operator.reconcile.offered import Offered
from diffusion_operator.reconcile.problems import invalid_spec, refusal
from diffusion_operator.reconcile.rollout import Rollout
from diffusion_operator.reconcile.scaling import LOOK_SECONDS, Scaling, scalers
from diffusion_operator.reconcile.writes import (
    LOOK_AGAIN_SECONDS,
    LeftoverError,
    NameTakenError,
    Writes,
    sooner,
)
from diffusion_operator.rollout.gate import Gate
from diffusion_operator.runs.basis import is_final
from diffusion_operator.settings import Settings
from diffusion_operator.status.diffusionservice import Problem, has_settled, service_status

# An Event of the kubelet wakes no one here.
VOLUMES_AGAIN_SECONDS = 5.0
# An image that can't be pulled is given up after a while, and the kubelet tells only at times.
PULL_AGAIN_SECONDS = 15.0


def _problem(error: Exception) -> tuple[Problem, float | None]:
    """What keeps the spec from coming true; in how many seconds to look again, unless told.

    Raises the error again where trying again is what helps.
    """
    match error:
        case ValidationError():
            return Problem("InvalidSpec", invalid_spec(error)), None
        case BuildError():
            return Problem(error.reason, error.message), None
        case NameTakenError():
            return Problem("NameTaken", str(error)), LOOK_AGAIN_SECONDS
        case LeftoverError():
            return Problem("AwaitingCleanup", str(error), passes=True), LOOK_AGAIN_SECONDS
        case ApiError():
            return refusal(error), LOOK_AGAIN_SECONDS
    raise error


class ServiceReconciler:
    """Makes one DiffusionService come true."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        writes: Writes,
        settings: Settings,
        now: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._writes = writes
        self._settings = settings
        self._now = now
        offered = Offered(cluster)
        self._scaling = Scaling(cluster, offered)
        self._rollout = Rollout(cache, writes, settings, self._scaling, now)
        self._kuberay = KubeRay(cluster, cache, settings, offered)

    async def __call__(self, key: Key) -> float | None:
        """Reconcile; returns in how many seconds to look again, if no event would say so."""
        owner = self._cache.get(key)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            self._writes.forget(key)
            self._scaling.forget(Key("Deployment", key.namespace, key.name))
            return None  # owner references do the cleaning up
        spec, precision, too_large = None, None, None
        live, gate, problem, again = None, None, None, None
        try:
            spec = DiffusionServiceSpec.model_validate(owner["spec"])
            accelerator = accelerator_of(spec, self._settings)
            precision = precision_of(spec, accelerator)
            too_large = misfit(spec, precision, accelerator)
            live, gate = await self._children(owner, spec)
        except (ValidationError, BuildError, NameTakenError, LeftoverError, ApiError) as error:
            problem, again = _problem(error)
        if problem is not None:
            live = self._before(owner)  # what no longer comes true has not ended what did
        pods = self._pods(key, spec, live)
        if live is not None and pods.awaiting_volumes and has_volumes_of_others(live):
            pods, again = await self._with_mount_failures(key, pods), VOLUMES_AGAIN_SECONDS
        if spec is not None and await self._scaling.scaler(spec) == "own":
            again = sooner(again, LOOK_SECONDS)
        if is_kuberays(live):  # a watch finds a kind that came later only after a minute
            again = sooner(again, LOOK_SECONDS)
        if any(found.reason == "ImagePullFailed" for found in pods.failures):
            again = sooner(again, PULL_AGAIN_SECONDS)
        status = service_status(
            owner,
            spec,
            precision=precision,
            deployment=live,
            pods=pods,
            problem=problem,
            now=self._now(),
            gate=gate,
            misfit=too_large,
        )
        suspended = spec is not None and spec.suspend  # a RayService isn't there to tell of it
        settled = live is None or problem is not None or suspended or has_settled(live, pods)
        return sooner(again, await self._writes.status(owner, status, settled=settled))

    def _before(self, owner: Object) -> Object | None:
        """The Deployment or RayService as it is, if there is one of the owner's."""
        meta = owner["metadata"]
        place = meta["namespace"], meta["name"]
        found = self._cache.get(Key("Deployment", *place))
        if found is not None and is_owned(found, owner):
            return found
        found = self._cache.get(Key("RayService", *place))
        if found is not None and is_owned(found, owner):
            return as_deployment(found, self._cache.pods_of(*place, SERVICE_LABEL))
        return None

    def _pods(self, key: Key, spec: DiffusionServiceSpec | None, live: Object | None) -> Pods:
        revision = revision_of(live) if live else ""
        served = served_cluster(live) if live and is_kuberays(live) else ""

        def observed(label: str) -> Pods:
            found = self._cache.pods_of(key.namespace, key.name, label)
            return observe_pods(counted(found, revision, served), revision)

        pods = observed(SERVICE_LABEL)
        return (
            pods if spec is None or not is_cluster(spec) else with_head(pods, observed(HEAD_LABEL))
        )

    def _unwanted(self, owner: Object, wanted: list[Object], revision: str) -> list[Key]:
        """What a service may have and this one, of that revision, has no use for."""
        meta = owner["metadata"]
        good = self._rollout.good(owner)
        keys = {key_of(child) for child in wanted}
        served = (owner.get("status") or {}).get("revision")
        if good is not None and (revision == kept_revision(good) or revision != served):
            # The last good pods may have to come back to their models.
            keys |= {
                Key("PersistentVolumeClaim", meta["namespace"], at) for at in kept_claims(good)
            }
        outdated = [
            key_of(kept)
            for kept in self._cache.revisions(meta["namespace"], meta["name"])
            if good is not None and kept["metadata"]["name"] != good["metadata"]["name"]
        ]
        # The test of the latest candidate tells why it was taken or not: it stays until the next.
        # One that still runs without its candidate would only tell that no one answers.
        is_next = Key("Deployment", meta["namespace"], candidate_name(owner)) in keys
        tests = [
            key_of(test)
            for test in self._cache.tests(meta["namespace"], preview_url(owner))
            if key_of(test) not in keys and (is_next or not is_final(test.get("status") or {}))
        ]
        return [*(key for key in optional_keys(owner) if key not in keys), *outdated, *tests]

    async def _children(
        self, owner: Object, spec: DiffusionServiceSpec
    ) -> tuple[Object, Gate | None]:
        """Make the children be as wanted.

        Returns the Deployment whose pods hold the model, and what its successor waits for.
        """
        make = partial(self._made, owner, spec)
        if await self._kuberay.is_asked(owner, spec):
            return await self._kuberay.pods(owner, spec, make), None
        plan = await self._rollout.plan(owner, spec)
        others = [
            *plan.candidate,
            *optional_children(owner, spec, self._settings),
            *scalers(owner, spec, await self._scaling.scaler(spec)),
        ]
        if is_cluster(spec):
            await self._keep_cluster_token(owner)
        revision = revision_of(plan.deployments[0])
        live, *_ = await make(plan.deployments, others, revision)
        return live, plan.gate

    async def _made(
        self,
        owner: Object,
        spec: DiffusionServiceSpec,
        makers: list[Object],
        others: list[Object],
        revision: str,
    ) -> list[Object]:
        """The makers of the pods as they are, and after them the other children.

        Raises as ``Writes.children``.
        """
        asked = service(owner, spec)
        wanted = [*makers, asked, *others]
        # Without it the first pods are refused, and that refusal hides the reason of a later one.
        account = service_account(
            owner, owner["metadata"]["name"], spec.service_account.annotations
        )
        before = self._cache.get(key_of(asked))
        # It must not lead from pods that serve to pods whose maker is refused.
        moves = before is not None and before["spec"].get("selector") != asked["spec"]["selector"]
        count = len(makers) if moves else 0
        return await self._writes.children(
            owner,
            wanted[count:],
            unwanted=self._unwanted(owner, wanted, revision),
            after=[account],
            ahead=wanted[:count],
        )

    async def _keep_cluster_token(self, owner: Object) -> None:
        """Make the Secret before the pods that need it; the operator may make Secrets, not read."""
        meta = owner["metadata"]
        begun = self._cache.get(Key("Deployment", meta["namespace"], head_name(owner)))
        ready = condition_of(owner, "Ready")
        lost = ready is not None and ready["reason"] == "SecretNotFound"
        if begun is None or lost:
            await self._cluster.create(token_secret(owner, secrets.token_hex(32)))

    async def _with_mount_failures(self, key: Key, pods: Pods) -> Pods:
        """The pods, with what the kubelet says of volumes that it can't mount."""
        # Asked for all at once: there may be hundreds of pods, each of which wakes this.
        said = await self._cluster.failed_mounts(key.namespace)
        found = [
            failure
            for pod in pods.awaiting_volumes
            if (failure := mount_failure(pod, said)) is not None
        ]
        return replace(pods, failures=(*pods.failures, *found))
