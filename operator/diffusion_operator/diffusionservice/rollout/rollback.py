"""Rollback: a revision that never becomes ready gives way to the last-good one.

State is stored where it takes effect: the last-good pods in a ControllerRevision, the failed
revision in an annotation of the Deployment.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from diffusion_operator.api.observed import ObservedService
from diffusion_operator.api.status import Failure
from diffusion_operator.diffusionservice.rollout.last_good_revision import (
    kept_revision,
    kept_templates,
)
from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.kube.objects import ROLLED_BACK_ANNOTATION, Object
from diffusion_operator.kube.pod_status import (
    failure_of,
    has_ended,
    is_ready,
    pod_revision,
    restarts,
)
from diffusion_operator.kube.workload import Workload

# The kubelet has backed off for 10 and 20 seconds by then.
MOST_RESTARTS = 3
# A short outage of a registry causes no rollback.
PULL_PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True)
class FailedRevision:
    """Revision that never became ready, with the cause."""

    revision: str
    reason: str
    message: str

    def text(self) -> str:
        """Text for the Deployment's annotation."""
        return json.dumps([self.revision, self.reason, self.message])


def recorded_failure(observed: Workload | None) -> FailedRevision | None:
    """Failed revision that the Deployment's annotation records."""
    text = observed.annotations.get(ROLLED_BACK_ANNOTATION) if observed is not None else None
    if text is None:
        return None
    try:
        return FailedRevision(*map(str, json.loads(text)))
    except (ValueError, TypeError):  # an unreadable annotation records no failure
        return None


def has_served(
    service: Mapping[str, Any], revision: str, pods: Iterable[Mapping[str, Any]]
) -> bool:
    """Whether a pod of the revision has answered requests."""
    if revision and ObservedService.of(service).revision == revision:
        return True
    return any(pod_revision(pod) == revision and is_ready(pod) for pod in pods)


def last_good(kept: Iterable[Object]) -> Object | None:
    """Newest of the ControllerRevisions."""
    return max(kept, key=lambda each: int(each["revision"]), default=None)


def can_serve_instead(good: Mapping[str, Any], built: Mapping[str, Any]) -> bool:
    """Whether the kept pods are of another revision and fit the built Deployment."""
    # An older release kept the head of its own Ray cluster, too.
    names = {built["metadata"]["name"]}
    return kept_revision(good) != revision_of(built) and set(kept_templates(good)) == names


def failed_for_good(
    observed: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], now: str
) -> FailedRevision | None:
    """Failure of the Deployment's revision, once it is certain that no pod will become ready."""
    revision = revision_of(observed)
    failures = [
        (pod, failure)
        for pod in pods
        if pod_revision(pod) == revision
        and not pod["metadata"].get("deletionTimestamp")
        and not has_ended(pod)
        and (failure := failure_of(pod)) is not None
    ]
    for pod, failure in failures:
        if restarts(pod) >= MOST_RESTARTS or _pulled_too_long(pod, failure, now):
            return FailedRevision(revision, failure.reason, failure.message)
    if not Workload.of_deployment(observed).is_overdue:
        return None
    if failures:
        return FailedRevision(revision, failures[-1][1].reason, failures[-1][1].message)
    return FailedRevision(revision, "ProbeFailed", "no pod became ready in time")


def _pulled_too_long(pod: Mapping[str, Any], failure: Failure, now: str) -> bool:
    begun = pod["metadata"].get("creationTimestamp")
    if failure.reason != "ImagePullFailed" or begun is None:
        return False
    return datetime.fromisoformat(now) - datetime.fromisoformat(begun) >= PULL_PATIENCE
