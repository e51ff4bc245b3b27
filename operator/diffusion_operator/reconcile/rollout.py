"""How a DiffusionService's pods come to be as the spec has them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.candidate import (
    candidate,
    candidate_name,
    gate_name,
    gate_test,
    preview,
)
from diffusion_operator.build.deployment import (
    deployments,
    in_place,
    revision_of,
    with_pods_of,
    with_template,
)
from diffusion_operator.build.good_revision import good_revision, kept_revision, kept_templates
from diffusion_operator.build.ray_cluster import is_cluster
from diffusion_operator.cache import Cache
from diffusion_operator.objects import CANDIDATE_LABEL, SERVICE_LABEL, Key, Object, is_owned, key_of
from diffusion_operator.reconcile.scaling import Scaling
from diffusion_operator.reconcile.writes import Writes
from diffusion_operator.rollout.gate import Gate, answers, gate_failure, has_passed, is_of, waiting
from diffusion_operator.rollout.rollback import (
    can_serve_instead,
    failed_for_good,
    has_served,
    last_good,
    noted_failure,
)
from diffusion_operator.rollout.room import must_go_in_place
from diffusion_operator.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What is to be there of pods."""

    deployments: list[Object]
    candidate: list[Object] = field(default_factory=list)
    gate: Gate | None = None


class Rollout:
    """Surges, goes in place, waits at a gate or goes back: as spec and room ask."""

    def __init__(
        self,
        cache: Cache,
        writes: Writes,
        settings: Settings,
        scaling: Scaling,
        now: Callable[[], str],
    ) -> None:
        self._cache = cache
        self._writes = writes
        self._settings = settings
        self._scaling = scaling
        self._now = now

    async def plan(self, owner: Object, spec: DiffusionServiceSpec) -> Plan:
        """What is to be there of pods, given how the rollout stands.

        Raises ``BuildError``, ``ApiError`` and what else ``Writes.child_once`` raises.
        """
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
            return Plan(built)
        if spec.rollout.gate is not None and not is_cluster(spec):
            gated = await self._gated(owner, spec, built[0], first, pods)
            if gated is not None:
                return gated
        if spec.rollout.on_failure == "Rollback":
            built = await self._or_last_good(owner, built, live, pods)
        if not is_cluster(spec) and must_go_in_place(built[0], live[0], pods):
            return Plan([in_place(built[0])])
        return Plan(built)

    async def _gated(
        self,
        owner: Object,
        spec: DiffusionServiceSpec,
        built: Object,
        live: Object,
        pods: list[Object],
    ) -> Plan | None:
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
            return Plan([with_template(built, live["spec"]["template"], failed.text())])
        if spec.suspend:  # it is tried when pods are wanted again
            return Plan([with_pods_of(built, live)])
        up = answers(tried, wanted)
        begun = not outdated and (up or test is not None)
        return Plan(
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
        good = self.good(owner)
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

    def good(self, owner: Object) -> Object | None:
        """The revision that is kept to go back to."""
        meta = owner["metadata"]
        kept = self._cache.revisions(meta["namespace"], meta["name"])
        return last_good(found for found in kept if is_owned(found, owner))

    async def _keep_good(self, owner: Object, live: list[Object]) -> None:
        """Keep the live pods to go back to, before others take their place."""
        before = self.good(owner)
        if before is not None and kept_revision(before) == revision_of(live[0]):
            return
        number = int(before["revision"]) + 1 if before is not None else 1
        await self._writes.child_once(owner, good_revision(owner, live, number))
