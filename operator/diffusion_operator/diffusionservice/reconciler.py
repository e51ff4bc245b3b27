"""Reconciler of a DiffusionService: workload, Service, ServiceAccount, and the status."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import ValidationError

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.observed import ObservedLoadTest, ObservedService
from diffusion_operator.diffusionservice.children import optional_children, optional_keys
from diffusion_operator.diffusionservice.kuberay.kuberay import KubeRay
from diffusion_operator.diffusionservice.kuberay.workload import RayWorkload, counted, ray_workload
from diffusion_operator.diffusionservice.pod_counts import PodCounts, observe_pods, with_head
from diffusion_operator.diffusionservice.rollout.gate import Gate
from diffusion_operator.diffusionservice.rollout.plan import Rollout
from diffusion_operator.diffusionservice.rollout.upgrade import UpgradeTurns
from diffusion_operator.diffusionservice.routing.external_route import route_key, route_verdict
from diffusion_operator.diffusionservice.routing.gateway_policies import GatewayPolicies
from diffusion_operator.diffusionservice.scaling.provider import Scaler
from diffusion_operator.diffusionservice.scaling.scaling import (
    LOOK_SECONDS,
    Scaling,
    outgoing,
    scalers,
    with_live_metric,
)
from diffusion_operator.diffusionservice.specs.accelerator import accelerator_of
from diffusion_operator.diffusionservice.specs.canary import canary_name, preview_name
from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.diffusionservice.specs.last_good_revision import (
    kept_claims,
    kept_revision,
)
from diffusion_operator.diffusionservice.specs.model_size import misfit
from diffusion_operator.diffusionservice.specs.pod import has_volumes_of_others
from diffusion_operator.diffusionservice.specs.ray_cluster import is_cluster
from diffusion_operator.diffusionservice.specs.server_container import server_image
from diffusion_operator.diffusionservice.specs.service import service, switches_selector
from diffusion_operator.diffusionservice.specs.serving_config import precision_of
from diffusion_operator.diffusionservice.specs.serving_image import serving_image
from diffusion_operator.diffusionservice.status import (
    has_settled,
    node_wait_seconds,
    service_status,
)
from diffusion_operator.kube.applier import (
    LOOK_AGAIN_SECONDS,
    Applier,
    LeftoverError,
    NameTakenError,
    sooner,
)
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, Cluster
from diffusion_operator.kube.conditions import Verdict
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.mount_events import MountEvents
from diffusion_operator.kube.objects import (
    HEAD_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    is_owned,
    key_of,
)
from diffusion_operator.kube.pod_status import mount_failure
from diffusion_operator.kube.problems import (
    LastingFailures,
    Problem,
    SpecError,
    invalid_spec,
    refusal,
)
from diffusion_operator.kube.service_account import service_account
from diffusion_operator.kube.workload import Workload
from diffusion_operator.settings import Settings

# Events of the kubelet wake no reconciler.
VOLUMES_AGAIN_SECONDS = 5.0
# A rollout gives up on an image after a while, and the kubelet reports pulls rarely.
PULL_AGAIN_SECONDS = 15.0


def _problem(error: Exception) -> tuple[Problem, float | None]:
    """Problem for an error, and the seconds after which to reconcile again.

    Raises:
        Exception: The same error, where a retry helps.
    """
    match error:
        case ValidationError():
            return Problem("InvalidSpec", invalid_spec(error)), None
        case SpecError():
            return Problem(error.reason, error.message), None
        case NameTakenError():
            return Problem("NameTaken", str(error)), LOOK_AGAIN_SECONDS
        case LeftoverError():
            return Problem("AwaitingCleanup", str(error), passes=True), LOOK_AGAIN_SECONDS
        case ApiError():
            return refusal(error), LOOK_AGAIN_SECONDS
    raise error


@dataclass(frozen=True)
class _Children:
    """Applied children, and the waits of their rollout."""

    workload: Workload | None
    """Workload whose pods hold the model."""
    gate: Gate | None = None
    """Gate that its successor waits for."""
    progressing: Verdict | None = None
    again: float | None = None
    scaler: Scaler | None = None


def _next_look(made: _Children, workload: Workload | None, pods: PodCounts) -> float | None:
    """Seconds until the next reconcile for what no event tells."""
    # The informer finds a kind that was installed later only after a minute.
    looks = made.scaler == "own" or isinstance(workload, RayWorkload)
    pulls = any(failure.reason == "ImagePullFailed" for failure in pods.failures)
    return sooner(LOOK_SECONDS if looks else None, PULL_AGAIN_SECONDS if pulls else None)


class ServiceReconciler:
    """Reconciler that makes one DiffusionService's children as its spec says."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        applier: Applier,
        settings: Settings,
        now: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._applier = applier
        self._settings = settings
        self._now = now
        self._failures = LastingFailures()
        self._mount_events = MountEvents(cluster)
        discovery = ApiDiscovery(cluster)
        self._scaling = Scaling(cluster, cache, discovery)
        self._turns = UpgradeTurns(cache, settings.rollouts)
        self._rollout = Rollout(
            cluster,
            cache,
            applier,
            settings=settings,
            scaling=self._scaling,
            turns=self._turns,
            now=now,
        )
        self._kuberay = KubeRay(cluster, cache, settings, discovery, turns=self._turns)
        self._gateway_policies = GatewayPolicies(cluster, cache, discovery)

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one DiffusionService.

        Returns:
            Seconds until the next reconcile, where no event would cause it.
        """
        owner = self._cache.get(key)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            self._forget(key)
            return None  # garbage collection removes the children
        spec, precision, too_large = None, None, None
        workload, problem, again, retried, made = None, None, None, None, _Children(None)
        try:
            spec = DiffusionServiceSpec.model_validate(owner["spec"])
            accelerator = accelerator_of(spec, self._settings)
            precision = precision_of(spec, accelerator)
            too_large = misfit(spec, precision, accelerator)
            made = await self._children(owner, spec)
            workload, again = made.workload, made.again
            self._failures.clear(key)
        except (ValidationError, SpecError, NameTakenError, LeftoverError, ApiError) as error:
            problem, again, retried = self._problem(key, error)
        if problem is not None:
            workload = self._before(owner)  # a problem with the new spec ends nothing that exists
        pods = self._pods(key, spec, workload)
        if (
            workload is not None
            and pods.awaiting_volumes
            and has_volumes_of_others(workload.template)
        ):
            pods = await self._with_mount_failures(key, pods)
            again = sooner(again, VOLUMES_AGAIN_SECONDS)
        again = sooner(again, _next_look(made, workload, pods))
        status = service_status(
            owner,
            spec,
            precision=precision,
            workload=workload,
            pods=pods,
            problem=problem,
            now=self._now(),
            gate=made.gate,
            misfit=too_large,
            progressing=made.progressing,
            more=self._more_verdicts(owner, spec, made.scaler),
        )
        if spec is not None and problem is None:
            again = sooner(again, node_wait_seconds(spec, workload, pods, self._now()))
        # a suspended service has no RayService to observe
        suspended = spec is not None and spec.suspend
        settled = (
            workload is None or problem is not None or suspended or has_settled(workload, pods)
        )
        again = sooner(again, await self._applier.apply_status(owner, status, settled=settled))
        if retried is not None:
            raise retried
        return again

    def _forget(self, key: Key) -> None:
        """Drop the state of a deleted service."""
        self._applier.forget(key)
        self._failures.clear(key)
        self._scaling.forget(Key("Deployment", key.namespace, key.name))
        for kind in ("Deployment", "RayService"):
            self._turns.forget(Key(kind, key.namespace, key.name))

    def _problem(self, key: Key, error: Exception) -> tuple[Problem, float | None, ApiError | None]:
        """Problem for an error, the seconds until the next reconcile, the error to retry.

        Raises:
            ApiError: The same error, where a retry helps and hasn't been tried often.
        """
        try:
            problem, again = _problem(error)
        except ApiError as passing:
            lasting = self._failures.add(key, passing)
            if lasting is None:
                raise
            return lasting, None, passing
        self._failures.clear(key)
        return problem, again, None

    def _more_verdicts(
        self, owner: Object, spec: DiffusionServiceSpec | None, scaler: Scaler | None
    ) -> list[Verdict]:
        """Conditions of the optional children."""
        verdicts = [self._scaling.verdict(owner, scaler)] if scaler is not None else []
        if spec is not None and spec.route is not None:
            observed = self._cache.get(route_key(owner, spec.route))
            verdicts.append(route_verdict(spec.route, observed))
        return verdicts

    def _before(self, owner: Object) -> Workload | None:
        """Existing workload of the owner, or ``None``."""
        meta = owner["metadata"]
        place = meta["namespace"], meta["name"]
        observed = self._cache.get(Key("Deployment", *place))
        if observed is not None and is_owned(observed, owner):
            return Workload.of_deployment(observed)
        observed = self._cache.get(Key("RayService", *place))
        if observed is not None and is_owned(observed, owner):
            return ray_workload(observed, self._cache.pods_of(*place, SERVICE_LABEL))
        return None

    def _pods(
        self, key: Key, spec: DiffusionServiceSpec | None, live: Workload | None
    ) -> PodCounts:
        revision = live.revision if live else ""

        def observed(label: str) -> PodCounts:
            labelled = self._cache.pods_of(key.namespace, key.name, label)
            if isinstance(live, RayWorkload):
                return observe_pods(counted(labelled, revision, live.served_cluster), revision)
            return observe_pods(labelled, revision)

        endpoints = self._cache.ready_endpoints(key.namespace, key.name)
        pods = replace(observed(SERVICE_LABEL), endpoints=endpoints)
        return (
            pods if spec is None or not is_cluster(spec) else with_head(pods, observed(HEAD_LABEL))
        )

    def _prunable(self, owner: Object, desired: list[Object], revision: str) -> list[Key]:
        """Keys of children that this service no longer needs at that revision."""
        meta = owner["metadata"]
        good = self._rollout.good(owner)
        keys = {key_of(child) for child in desired}
        served = ObservedService.of(owner).revision
        if good is not None and (revision == kept_revision(good) or revision != served):
            # A rollback needs the models of the last-good revision.
            keys |= {
                Key("PersistentVolumeClaim", meta["namespace"], at) for at in kept_claims(good)
            }
        outdated = [
            key_of(kept)
            for kept in self._cache.revisions(meta["namespace"], meta["name"])
            if good is not None and kept["metadata"]["name"] != good["metadata"]["name"]
        ]
        # The LoadTest of the latest canary explains the gate's decision, so it stays until the next
        # one.
        is_next = Key("Deployment", meta["namespace"], canary_name(owner)) in keys
        tests = [
            key_of(test)
            for test in self._cache.tests(meta["namespace"], preview_name(owner))
            if key_of(test) not in keys and (is_next or not ObservedLoadTest.of(test).has_ended)
        ]
        return [*(key for key in optional_keys(owner) if key not in keys), *outdated, *tests]

    async def _children(self, owner: Object, spec: DiffusionServiceSpec) -> "_Children":
        """Apply all children."""
        if is_cluster(spec):
            return await self._ray_service(owner, spec)
        scaler = await self._scaling.scaler(owner, spec) if spec.autoscaling is not None else None
        plan = await self._rollout.plan(owner, spec, scaler)
        others = [*plan.canary, *await self._optional(owner, spec)]
        if scaler is not None:
            autoscalers = scalers(owner, spec, scaler)
            await self._applier.prune(owner, outgoing(owner, autoscalers))
            if plan.is_upgrade_pending or self._may_lack_metrics(owner, spec):
                autoscalers = [
                    with_live_metric(each, self._cache.get(key_of(each))) for each in autoscalers
                ]
            others += autoscalers
        revision = revision_of(plan.deployment)
        observed, *_ = await self._apply(owner, spec, [plan.deployment], others, revision)
        live = Workload.of_deployment(observed)
        return _Children(live, plan.gate, plan.progressing, plan.again, scaler)

    def _may_lack_metrics(self, owner: Object, spec: DiffusionServiceSpec) -> bool:
        """Whether pods may be of a release whose server lacks a metric of this one."""
        meta = owner["metadata"]
        pods = self._cache.pods_of(meta["namespace"], meta["name"], SERVICE_LABEL)
        image = serving_image(spec, self._settings)
        return spec.image is not None or any(server_image(pod) != image for pod in pods)

    async def _optional(
        self, owner: Object, spec: DiffusionServiceSpec, *, kuberay: bool = False
    ) -> list[Object]:
        """Optional children that spec, settings and cluster ask for."""
        made = optional_children(owner, spec, self._settings, kuberay=kuberay)
        if spec.route is not None:
            made += await self._gateway_policies.of(owner, spec)
        return made

    async def _ray_service(self, owner: Object, spec: DiffusionServiceSpec) -> "_Children":
        """Apply the RayService and the other children."""
        await self._kuberay.require(owner)
        plan = await self._kuberay.plan(owner, spec)
        others = await self._optional(owner, spec, kuberay=True)
        try:
            applied = await self._apply(owner, spec, plan.workloads, others, plan.revision)
        except ApiError as error:
            await self._kuberay.raise_if_uninstalled(error)
            raise
        live = await self._kuberay.scale(plan, applied)
        again = self._turns.again() if plan.is_upgrade_pending else None
        waits = self._turns.pending() if plan.is_upgrade_pending else None
        return _Children(live, progressing=waits, again=again)

    async def _apply(
        self,
        owner: Object,
        spec: DiffusionServiceSpec,
        workloads: list[Object],
        others: list[Object],
        revision: str,
    ) -> list[Object]:
        """Apply the workloads and the other children.

        Returns:
            The workloads first, then the others, as the API server has them.

        Raises:
            NameTakenError, LeftoverError, ApiError: As ``Applier.apply`` does.
        """
        entrance = service(owner, spec)
        desired = [*workloads, entrance, *others]
        # Without the ServiceAccount the first pods are refused, which hides a later refusal's
        # reason.
        account = service_account(
            owner, owner["metadata"]["name"], spec.service_account.annotations
        )
        before = self._cache.get(key_of(entrance))
        count = len(workloads) if switches_selector(before, entrance) else 0
        return await self._applier.apply(
            owner,
            desired[count:],
            prune=self._prunable(owner, desired, revision),
            after=[account],
            ahead=desired[:count],
        )

    async def _with_mount_failures(self, key: Key, pods: PodCounts) -> PodCounts:
        """Counts with the kubelet's mount failures added."""
        # One request covers all pods: hundreds may wake this reconciler.
        events = await self._mount_events.of(key.namespace)
        failures = [
            failure
            for pod in pods.awaiting_volumes
            if (failure := mount_failure(pod, events)) is not None
        ]
        return replace(pods, failures=(*pods.failures, *failures))
