"""DiffusionService → ServiceAccount, Deployment, Service; and its status."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build import BuildError
from diffusion_operator.build.accelerator import accelerator_of
from diffusion_operator.build.candidate import (
    candidate,
    candidate_name,
    gate_name,
    gate_test,
    preview,
    preview_url,
)
from diffusion_operator.build.deployment import (
    deployments,
    in_place,
    revision_of,
    with_pods_of,
    with_template,
)
from diffusion_operator.build.good_revision import (
    good_revision,
    kept_claims,
    kept_revision,
    kept_templates,
)
from diffusion_operator.build.model_size import misfit
from diffusion_operator.build.optional import optional_children, optional_keys
from diffusion_operator.build.pod import has_volumes_of_others
from diffusion_operator.build.ray_cluster import head_name, is_cluster, token_secret
from diffusion_operator.build.ray_service import API_VERSION as RAY_API
from diffusion_operator.build.ray_service import LONGEST_NAME, ray_service, workers_of
from diffusion_operator.build.service import service
from diffusion_operator.build.service_account import service_account
from diffusion_operator.build.serving_config import precision_of
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import ApiError, Cluster, unknown_group
from diffusion_operator.kuberay import (
    all_answer,
    as_deployment,
    coming_cluster,
    counted,
    is_kuberays,
    served_cluster,
    told_by,
)
from diffusion_operator.objects import (
    CANDIDATE_LABEL,
    HEAD_LABEL,
    REVISION_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    condition_of,
    is_owned,
    key_of,
    labels_of,
)
from diffusion_operator.observe import Pods, mount_failure, observe_pods, with_head
from diffusion_operator.reconcile.offered import Offered
from diffusion_operator.reconcile.problems import invalid_spec, refusal
from diffusion_operator.reconcile.scaling import LOOK_SECONDS, Scaling, scalers
from diffusion_operator.reconcile.writes import (
    LOOK_AGAIN_SECONDS,
    LeftoverError,
    NameTakenError,
    Writes,
    sooner,
)
from diffusion_operator.rollout.gate import (
    Gate,
    answers,
    gate_failure,
    has_passed,
    is_of,
    waiting,
)
from diffusion_operator.rollout.rollback import (
    can_serve_instead,
    failed_for_good,
    has_served,
    last_good,
    noted_failure,
)
from diffusion_operator.rollout.room import must_go_in_place
from diffusion_operator.runs.basis import is_final
from diffusion_operator.settings import Settings
from diffusion_operator.status.diffusionservice import Problem, has_settled, service_status

# An Event of the kubelet wakes no one here.
VOLUMES_AGAIN_SECONDS = 5.0
# An image that can't be pulled is given up after a while, and the kubelet tells only at times.
PULL_AGAIN_SECONDS = 15.0
_RAY_GROUP = RAY_API.partition("/")[0]
_KUBERAY_GOES = "KubeRay's kinds have just gone, and its Ray cluster with them: another is made"


@dataclass(frozen=True)
class _Plan:
    """What is to be there of pods."""

    deployments: list[Object]
    candidate: list[Object] = field(default_factory=list)
    gate: Gate | None = None


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
        self._offered = Offered(cluster)
        self._scaling = Scaling(cluster, self._offered)

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

    async def _deployments(self, owner: Object, spec: DiffusionServiceSpec) -> "_Plan":
        """The Deployments as they are wanted, given how the rollout stands."""
        meta = owner["metadata"]
        built = deployments(owner, spec, self._settings)
        seen = [self._cache.get(key_of(each)) for each in built]
        live = [each for each in seen if each is not None and is_owned(each, owner)]
        first = live[0] if live and seen[0] is not None else None
        pods = self._cache.pods_of(meta["namespace"], meta["name"], SERVICE_LABEL)
        scaler = await self._scaling.scaler(spec)
        if spec.autoscaling is not None and scaler is not None:
            built[0] = await self._scaling.replicated(
                built[0], first, spec.autoscaling, scaler, pods
            )
        if first is None:
            return _Plan(built)
        if spec.rollout.gate is not None and not is_cluster(spec):
            gated = await self._gated(owner, spec, built[0], first, pods)
            if gated is not None:
                return gated
        if spec.rollout.on_failure == "Rollback":
            built = await self._or_last_good(owner, built, live, pods)
        if not is_cluster(spec) and must_go_in_place(built[0], live[0], pods):
            return _Plan([in_place(built[0])])
        return _Plan(built)

    async def _gated(
        self,
        owner: Object,
        spec: DiffusionServiceSpec,
        built: Object,
        live: Object,
        pods: list[Object],
    ) -> "_Plan | None":
        """The live pods, with a candidate beside them; nothing once nothing is to be waited for."""
        wanted, served = revision_of(built), revision_of(live)
        if wanted == served or not has_served(owner, served, pods):
            return None
        meta = owner["metadata"]
        test_name = gate_name(owner, wanted)
        test = self._cache.get(Key("LoadTest", meta["namespace"], test_name))
        if test is not None and not is_owned(test, owner):
            test = None
        if has_passed(test):
            return None
        await self._keep_good(owner, [live])
        tried = self._cache.get(Key("Deployment", meta["namespace"], candidate_name(owner)))
        seen = self._cache.pods_of(meta["namespace"], meta["name"], CANDIDATE_LABEL)
        # One that tells of a candidate that went is taken away before there is another.
        outdated = test is not None and not is_of(test, tried)
        failed = noted_failure(live)
        if failed is None or failed.revision != wanted:
            failed = gate_failure(wanted, tried, seen, None if outdated else test, self._now())
        if failed is not None:
            return _Plan([with_template(built, live["spec"]["template"], failed.text())])
        if spec.suspend:  # it is tried when pods are wanted again
            return _Plan([with_pods_of(built, live)])
        up = answers(tried, wanted)
        begun = not outdated and (up or test is not None)
        return _Plan(
            [with_pods_of(built, live)],
            self._tried(owner, built, wanted, begun=begun),
            waiting(wanted, test_name, seen, up=up),
        )

    def _tried(self, owner: Object, built: Object, revision: str, *, begun: bool) -> list[Object]:
        """The candidate, its address and, once it answers, its load test."""
        made = [candidate(owner, built), preview(owner)]
        return [*made, gate_test(owner, revision)] if begun else made

    async def _or_last_good(
        self, owner: Object, built: list[Object], live: list[Object], pods: list[Object]
    ) -> list[Object]:
        """The Deployments, with the pods of the last good revision where the spec's fail."""
        good = self._good(owner)
        wanted, served = revision_of(built[0]), revision_of(live[0])
        if served != wanted and has_served(owner, served, pods):
            await self._keep_good(owner, live)
        if good is None or not can_serve_instead(good, built):
            return built
        failed = noted_failure(live[0])
        if failed is None and served == wanted and not has_served(owner, wanted, pods):
            failed = failed_for_good(live[0], pods, self._now())
        if failed is None or failed.revision != wanted:
            return built
        templates = kept_templates(good)
        return [
            with_template(each, templates[each["metadata"]["name"]], failed.text())
            for each in built
        ]

    def _good(self, owner: Object) -> Object | None:
        meta = owner["metadata"]
        kept = self._cache.revisions(meta["namespace"], meta["name"])
        return last_good(found for found in kept if is_owned(found, owner))

    async def _keep_good(self, owner: Object, live: list[Object]) -> None:
        """Keep the live pods to go back to, before others take their place."""
        before = self._good(owner)
        if before is not None and kept_revision(before) == revision_of(live[0]):
            return
        number = int(before["revision"]) + 1 if before is not None else 1
        await self._writes.child_once(owner, good_revision(owner, live, number))

    def _unwanted(self, owner: Object, wanted: list[Object], revision: str) -> list[Key]:
        """What a service may have and this one, of that revision, has no use for."""
        meta = owner["metadata"]
        good = self._good(owner)
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
        if await self._is_for_kuberay(owner, spec):
            return await self._with_kuberay(owner, spec), None
        plan = await self._deployments(owner, spec)
        others = [
            *plan.candidate,
            *optional_children(owner, spec, self._settings),
            *scalers(owner, spec, await self._scaling.scaler(spec)),
        ]
        if is_cluster(spec):
            await self._keep_cluster_token(owner)
        revision = revision_of(plan.deployments[0])
        live, *_ = await self._made(owner, spec, plan.deployments, others, revision)
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

    async def _is_for_kuberay(self, owner: Object, spec: DiffusionServiceSpec) -> bool:
        """Whether KubeRay makes the Ray cluster; one that this operator has made runs on."""
        if not is_cluster(spec):
            return False
        namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
        head = self._cache.get(Key("Deployment", namespace, head_name(owner)))
        can_go = spec.suspend and len(name) <= LONGEST_NAME
        if head is not None and is_owned(head, owner) and not can_go:
            return False
        if RAY_API in await self._offered.groups():
            return True
        # An API server that has just started may leave it out, and the RayService runs on.
        return await self._cluster.knows_kind_of(Key("RayService", namespace, name))

    async def _with_kuberay(self, owner: Object, spec: DiffusionServiceSpec) -> Object:
        """Have KubeRay make the pods; returns their RayService as a Deployment of them."""
        meta = owner["metadata"]
        built = ray_service(owner, spec, self._settings)
        others = optional_children(owner, spec, self._settings, kuberay=True)
        # A RayService can't be suspended, but made anew; one without workers would keep its head.
        makers = [] if spec.suspend or spec.replicas == 0 else [built]
        revision = labels_of(workers_of(built)["template"])[REVISION_LABEL]
        await self._look_at(key_of(built))
        try:
            made = await self._made(owner, spec, makers, others, revision)
        except ApiError as error:
            if unknown_group(error) != _RAY_GROUP or RAY_API in await self._cluster.groups():
                raise
            raise LeftoverError(_KUBERAY_GOES) from error
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
