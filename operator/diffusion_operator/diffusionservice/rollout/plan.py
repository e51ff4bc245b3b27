"""Rollout plan: the Deployment to apply, given how far the rollout is."""

from collections.abc import Callable
from dataclasses import dataclass, field

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.rollout.gate import (
    RETRY_SECONDS,
    Gate,
    answers,
    gate_failure,
    has_passed,
    is_held_up,
    is_of,
    is_unmeasured,
    retry_after,
    waiting,
)
from diffusion_operator.diffusionservice.rollout.node_wait import (
    NODE_AGAIN_SECONDS,
    node_wait,
    waiting_for_node,
)
from diffusion_operator.diffusionservice.rollout.rollback import (
    can_serve_instead,
    failed_for_good,
    has_served,
    last_good,
    recorded_failure,
)
from diffusion_operator.diffusionservice.rollout.surge import is_in_place, shortage_of
from diffusion_operator.diffusionservice.rollout.upgrade import UpgradeTurns
from diffusion_operator.diffusionservice.scaling.provider import Scaler
from diffusion_operator.diffusionservice.scaling.scaling import Scaling
from diffusion_operator.diffusionservice.specs.canary import (
    canary,
    canary_name,
    gate_name,
    gate_test,
    preview,
)
from diffusion_operator.diffusionservice.specs.deployment import (
    deployment,
    in_place,
    kept,
    revision_of,
    settling,
    with_pods_of,
    with_template,
)
from diffusion_operator.diffusionservice.specs.last_good_revision import (
    good_revision,
    kept_revision,
    kept_templates,
)
from diffusion_operator.diffusionservice.specs.model_fetch import uses_single_node_cache
from diffusion_operator.diffusionservice.specs.upgrade_mark import marked, needs_mark
from diffusion_operator.kube.applier import Applier
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import Cluster
from diffusion_operator.kube.conditions import Verdict
from diffusion_operator.kube.objects import (
    CANARY_LABEL,
    SERVICE_LABEL,
    Key,
    Object,
    is_orphan_of,
    is_owned,
    key_of,
)
from diffusion_operator.kube.workload import Workload
from diffusion_operator.settings import Settings


@dataclass(frozen=True)
class Plan:
    """Deployment to apply, and the canary beside it."""

    deployment: Object
    canary: list[Object] = field(default_factory=list)
    gate: Gate | None = None
    progressing: Verdict | None = None
    """Progressing condition of a rollout that waits for something outside the service."""
    again: float | None = None
    """Seconds after which to plan again, where no event would cause it."""
    is_upgrade_pending: bool = False
    """Whether the pods of an earlier release stay for now."""


class Rollout:
    """Planner of rollouts: turn, surge, in place, gate or rollback."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        applier: Applier,
        *,
        settings: Settings,
        scaling: Scaling,
        turns: UpgradeTurns,
        now: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._applier = applier
        self._settings = settings
        self._scaling = scaling
        self._now = now
        self._turns = turns

    async def plan(self, owner: Object, spec: DiffusionServiceSpec, scaler: Scaler | None) -> Plan:
        """Plan the Deployment to apply; ``scaler`` is the spec's autoscaling provider.

        Raises:
            SpecError: The spec can't be built.
            ApiError: The API server refused.
            NameTakenError, LeftoverError: As ``Applier.create_once`` does.
        """
        meta = owner["metadata"]
        built = deployment(owner, spec, self._settings)
        observed = self._cache.get(key_of(built))
        if observed is not None and not (
            is_owned(observed, owner) or is_orphan_of(observed, owner, SERVICE_LABEL)
        ):
            observed = None
        if observed is None or needs_mark(built, observed):
            built = marked(built, owner)
        pods = self._cache.pods_of(meta["namespace"], meta["name"], SERVICE_LABEL)
        if scaler is not None:
            built = await self._scaling.replicated(built, observed, spec, scaler, pods)
        if observed is None:
            return Plan(built)
        built = self._settled(built, needed=bool(observed["spec"].get("minReadySeconds")))
        tested = self._cache.get(Key("Deployment", meta["namespace"], canary_name(owner)))
        begun = tested is not None and revision_of(tested) == revision_of(built)
        if self._turns.waits(owner, built, observed, pods, begun=begun):
            waits = self._turns.pending()
            return Plan(
                kept(built, observed),
                progressing=waits,
                again=self._turns.again(),
                is_upgrade_pending=True,
            )
        if spec.rollout.gate is not None:
            gated = await self._gated(owner, spec, built, observed, pods)
            if gated is not None:
                return gated
        if spec.rollout.on_failure == "Rollback":
            built = await self._or_last_good(owner, built, observed, pods)
        rolls_out = revision_of(built) != revision_of(observed)
        return await self._placed(spec, self._settled(built, needed=rolls_out), observed, pods)

    def _settled(self, built: Object, *, needed: bool) -> Object:
        """Deployment whose rollout waits until a new pod has been ready for a while.

        The number outlasts the rollout, so that its end changes no Deployment.
        """
        least = self._settings.rollouts.min_ready_seconds
        return settling(built, least) if least and needed else built

    async def _placed(
        self, spec: DiffusionServiceSpec, built: Object, observed: Object, pods: list[Object]
    ) -> Plan:
        """Plan with a surge pod, or in place where that has no room and no node comes for it."""
        if uses_single_node_cache(spec) or is_in_place(built, observed):
            return Plan(in_place(built))
        shortage = shortage_of(built, observed, pods)
        if shortage is None:
            return Plan(built)
        if shortage.pod is not None:
            meta = shortage.pod["metadata"]
            events = await self._cluster.pod_events(meta["namespace"], uid=meta["uid"])
            wait = node_wait(spec, self._settings.rollouts, shortage.pod, events, self._now())
            if wait > 0:
                waits = waiting_for_node(spec, shortage.message)
                return Plan(built, progressing=waits, again=min(wait, NODE_AGAIN_SECONDS))
        return Plan(in_place(built))

    async def _gated(
        self,
        owner: Object,
        spec: DiffusionServiceSpec,
        built: Object,
        observed: Object,
        pods: list[Object],
    ) -> Plan | None:
        """Plan with the serving pods and a canary, or ``None`` once the gate is passed."""
        desired, served = revision_of(built), revision_of(observed)
        if desired == served or not self._has_served(owner, observed, pods):
            return None
        good = self.good(owner)
        if good is not None and kept_revision(good) == desired:
            return None  # the revision has served before, and is the way back
        meta = owner["metadata"]
        test_name = gate_name(owner, desired)
        test = self._cache.get(Key("LoadTest", meta["namespace"], test_name))
        if test is not None and not is_owned(test, owner):
            test = None
        if has_passed(test):
            return None
        await self._keep_good(owner, observed)
        tried = self._cache.get(Key("Deployment", meta["namespace"], canary_name(owner)))
        seen = self._cache.pods_of(meta["namespace"], meta["name"], CANARY_LABEL)
        # The LoadTest of a removed canary is deleted before the next canary's is created.
        outdated = test is not None and not is_of(test, tried)
        failed = recorded_failure(Workload.of_deployment(observed))
        if failed is None or failed.revision != desired:
            failed = gate_failure(desired, tried, seen, None if outdated else test, self._now())
        if failed is not None:
            return Plan(with_template(built, observed["spec"]["template"], failed.text()))
        if spec.suspend:  # the canary starts when the service resumes
            return Plan(with_pods_of(built, observed))
        up = answers(tried, desired)
        begun = not outdated and (up or test is not None)
        if begun and is_held_up(test):
            self._turns.forget(key_of(built))  # other services need no verdict on this one
        return Plan(
            with_pods_of(built, observed),
            self._tried(owner, built, None if outdated else test, begun=begun),
            waiting(desired, test_name, seen, None if outdated else test, up=up),
            again=RETRY_SECONDS if begun and is_unmeasured(test) else None,
        )

    def _tried(
        self, owner: Object, built: Object, test: Object | None, *, begun: bool
    ) -> list[Object]:
        """Children of the canary; the LoadTest follows once the canary answers."""
        made = [canary(owner, built), preview(owner)]
        if not begun:
            return made
        return [*made, gate_test(owner, revision_of(built), retry_after(test, self._now()))]

    async def _or_last_good(
        self, owner: Object, built: Object, observed: Object, pods: list[Object]
    ) -> Object:
        """Built Deployment, or the last-good pods where the spec's revision failed."""
        good = self.good(owner)
        desired, served = revision_of(built), revision_of(observed)
        if served != desired and self._has_served(owner, observed, pods):
            await self._keep_good(owner, observed)
        if good is None or not can_serve_instead(good, built):
            return built
        failed = recorded_failure(Workload.of_deployment(observed))
        if failed is None and served == desired and not self._has_served(owner, observed, pods):
            failed = failed_for_good(observed, pods, self._now())
        if failed is None or failed.revision != desired:
            return built
        template = kept_templates(good)[built["metadata"]["name"]]
        return with_template(built, template, failed.text())

    def _has_served(self, owner: Object, observed: Object, pods: list[Object]) -> bool:
        least = self._settings.rollouts.min_ready_seconds
        return has_served(owner, observed, pods, self._now(), least)

    def good(self, owner: Object) -> Object | None:
        """Last-good revision of the owner, or ``None``."""
        meta = owner["metadata"]
        kept = self._cache.revisions(meta["namespace"], meta["name"])
        return last_good(each for each in kept if is_owned(each, owner))

    async def _keep_good(self, owner: Object, observed: Object) -> None:
        """Keep the serving pods as the last-good revision before others replace them."""
        before = self.good(owner)
        if before is not None and kept_revision(before) == revision_of(observed):
            return
        number = int(before["revision"]) + 1 if before is not None else 1
        await self._applier.create_once(owner, good_revision(owner, observed, number))
