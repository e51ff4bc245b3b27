"""Upgrade: a release of the operator changes pods, of a few services at a time."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from diffusion_operator.api.observed import ObservedService
from diffusion_operator.diffusionservice.rollout.rollback import noted_failure
from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.diffusionservice.specs.upgrade_mark import mark_of, spec_mark
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.conditions import Verdict
from diffusion_operator.kube.kinds import CUSTOM_KINDS
from diffusion_operator.kube.objects import Key, Object, key_of, labels_of
from diffusion_operator.kube.pod_status import is_ready
from diffusion_operator.kube.workload import Workload
from diffusion_operator.settings import Rollouts

# The end of another service's rollout wakes no reconciler of this one.
TURN_AGAIN_SECONDS = 10.0
# One look at all Deployments serves the services that ask within this time.
_COUNT_FOR_SECONDS = 1.0
_SERVICE_LABEL = CUSTOM_KINDS["DiffusionService"].owner_label


Revision = Callable[[Mapping[str, Any]], str]


def is_from_release(
    owner: Mapping[str, Any],
    built: Mapping[str, Any],
    observed: Mapping[str, Any],
    revision: Revision = revision_of,
) -> bool:
    """Whether the operator changes the pods, and not the spec.

    ``revision`` reads the revision of a workload's pods; a Deployment's by default.
    """
    if revision(built) == revision(observed):
        return False
    failed = noted_failure(observed["metadata"].get("annotations") or {})
    if failed is not None and failed.revision == revision(built):
        return False
    mark = mark_of(observed)
    if mark is not None:
        return mark == spec_mark(owner["spec"])
    # An older release left no mark, but its status says which spec it has applied.
    return bool(ObservedService.of(owner).observed_generation == owner["metadata"]["generation"])


def is_rolling(deployment: Mapping[str, Any]) -> bool:
    """Whether a rollout of the Deployment is in progress."""
    workload = Workload.of_deployment(deployment)
    moving = workload.condition("Progressing")
    if not workload.is_observed or moving is None:
        return True
    return moving.reason not in {"NewReplicaSetAvailable", "ProgressDeadlineExceeded"}


def is_taking_over(ray_service: Mapping[str, Any]) -> bool:
    """Whether KubeRay prepares another Ray cluster of the RayService."""
    pending = (ray_service.get("status") or {}).get("pendingServiceStatus") or {}
    return bool(pending.get("rayClusterName"))


class UpgradeTurns:
    """Admission of the services that a release changes; the others keep their pods."""

    def __init__(
        self, cache: Cache, settings: Rollouts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cache = cache
        self._settings = settings
        self._clock = clock
        # A service that begins is not yet in the cache's counts.
        self._begun: set[Key] = set()
        self._rolling: frozenset[Key] = frozenset()
        self._counted_at: float | None = None

    def waits(
        self,
        owner: Mapping[str, Any],
        built: Mapping[str, Any],
        observed: Mapping[str, Any],
        pods: Iterable[Mapping[str, Any]],
        *,
        begun: bool = False,
        revision: Revision = revision_of,
    ) -> bool:
        """Whether the service keeps its pods for now, although a release changes them.

        A service without a ready pod has nothing to lose and doesn't wait; nor does a service that
        has ``begun``, say with a canary.
        """
        key = key_of(built)
        from_release = is_from_release(owner, built, observed, revision)
        if not from_release or not any(map(is_ready, pods)):
            if key in self._begun:
                self._begun.discard(key)
                self._counted_at = None  # the cache has its rollout now
            return False
        if begun or key in self._begun:
            return False
        if self._settings.upgrade == "OnNextChange":
            return True
        busy = self._begun | self._in_progress()
        if len(busy - {key}) >= self._settings.max_concurrent_upgrades:
            return True
        self._begun.add(key)
        return False

    def pending(self) -> Verdict:
        """Progressing condition of a service that waits."""
        how = (
            "the pods change with the next change of the spec"
            if self._settings.upgrade == "OnNextChange"
            else f"at most {self._settings.max_concurrent_upgrades} services roll out at once, "
            "and this one waits for its turn"
        )
        message = f"the operator's release has other pods for this spec: {how}"
        return Verdict("Progressing", "False", "UpgradePending", message)

    def again(self) -> float | None:
        """Seconds until the turn may have come, or ``None`` where none comes by itself."""
        return TURN_AGAIN_SECONDS if self._settings.upgrade == "Rolling" else None

    def forget(self, key: Key) -> None:
        """Drop the turn of a workload that is deleted or held up."""
        self._begun.discard(key)

    def _in_progress(self) -> frozenset[Key]:
        now = self._clock()
        if self._counted_at is None or now - self._counted_at >= _COUNT_FOR_SECONDS:
            self._counted_at = now
            deployments = filter(_is_of_service, self._cache.all("Deployment"))
            ray_services = self._cache.all("RayService")
            self._rolling = frozenset(
                [
                    *(key_of(each) for each in deployments if is_rolling(each)),
                    *(key_of(each) for each in ray_services if is_taking_over(each)),
                ]
            )
        return self._rolling


def _is_of_service(deployment: Object) -> bool:
    """Whether the Deployment has a service's own name, as a canary's has not."""
    return bool(labels_of(deployment).get(_SERVICE_LABEL) == deployment["metadata"]["name"])
