"""Rollback: a revision that never becomes ready gives way to the last-good one.

State is stored where it takes effect: the last-good pods in a ControllerRevision, the failed
revision in an annotation of the Deployment.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from diffusion_operator.api.observed import ObservedService
from diffusion_operator.api.status import Failure
from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.diffusionservice.specs.last_good_revision import (
    kept_revision,
    kept_templates,
)
from diffusion_operator.diffusionservice.specs.server_container import CONTAINER
from diffusion_operator.kube.conditions import condition_of
from diffusion_operator.kube.objects import ROLLED_BACK_ANNOTATION, Object
from diffusion_operator.kube.pod_status import (
    failure_of,
    has_ended,
    pod_revision,
    pull_begun,
    restarts,
)
from diffusion_operator.kube.workload import Workload, refusal_of_pods

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
    return noted_failure(observed.annotations) if observed is not None else None


def noted_failure(annotations: Mapping[str, str]) -> FailedRevision | None:
    """Failed revision that these annotations of a workload record."""
    text = annotations.get(ROLLED_BACK_ANNOTATION)
    if text is None:
        return None
    try:
        return FailedRevision(*map(str, json.loads(text)))
    except (ValueError, TypeError):  # an unreadable annotation records no failure
        return None


def has_served(
    service: Mapping[str, Any],
    observed: Mapping[str, Any],
    pods: Iterable[Mapping[str, Any]],
    now: str,
    least_seconds: int,
) -> bool:
    """Whether the Deployment's revision has answered requests for the time that counts.

    A pod that answers for a moment and then crashes is no revision to come back to.
    """
    revision = revision_of(observed)
    if any(
        pod_revision(pod) == revision and _ready_seconds(pod, now) >= least_seconds for pod in pods
    ):
        return True
    # The Deployment counts a rollout as complete after `minReadySeconds` only.
    moving = Workload.of_deployment(observed).condition("Progressing")
    complete = moving is None or moving.reason == "NewReplicaSetAvailable"
    return bool(revision) and ObservedService.of(service).revision == revision and complete


def _ready_seconds(pod: Mapping[str, Any], now: str) -> float:
    """Seconds for which the pod has been ready; negative where it isn't."""
    ready = condition_of(pod, "Ready")
    if ready is None or not ready.is_true:
        return -1.0
    since = ready.last_transition_time
    return (_time(now) - _time(since)).total_seconds() if since else math.inf


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
    own = [
        pod
        for pod in pods
        if pod_revision(pod) == revision
        and not pod["metadata"].get("deletionTimestamp")
        and not has_ended(pod)
    ]
    failures = [(pod, failure) for pod in own if (failure := failure_of(pod)) is not None]
    for pod, failure in failures:
        if restarts(pod, _sidecars(observed)) >= MOST_RESTARTS or _pulled_too_long(
            pod, failure, now
        ):
            return FailedRevision(revision, failure.reason, failure.message)
    workload = Workload.of_deployment(observed)
    if not workload.is_overdue or any(_has_time_left(observed, pod, now) for pod in own):
        return None
    if failures:
        return FailedRevision(revision, failures[-1][1].reason, failures[-1][1].message)
    refused = refusal_of_pods(workload)
    if refused is not None:
        return FailedRevision(revision, refused.reason, refused.message)
    return FailedRevision(revision, "ProbeFailed", "no pod became ready in time")


def _sidecars(observed: Mapping[str, Any]) -> frozenset[str]:
    """Names of containers that `podTemplate` adds, whose restarts say nothing of the server."""
    pod = observed["spec"]["template"]["spec"]
    beside = {each["name"] for each in pod["containers"]} - {CONTAINER}
    first = {
        each["name"]
        for each in pod.get("initContainers") or ()
        if each.get("restartPolicy") == "Always"
    }
    return frozenset(beside | first)


def _has_time_left(observed: Mapping[str, Any], pod: Mapping[str, Any], now: str) -> bool:
    """Whether the pod got its node so late that its own time to become ready is not over."""
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled is None or not scheduled.is_true or scheduled.last_transition_time is None:
        return False
    within = float(observed["spec"].get("progressDeadlineSeconds") or 0)
    return (_time(now) - _time(scheduled.last_transition_time)).total_seconds() < within


def _pulled_too_long(pod: Mapping[str, Any], failure: Failure, now: str) -> bool:
    begun = pull_begun(pod)
    if failure.reason != "ImagePullFailed" or begun is None:
        return False
    return _time(now) - _time(begun) >= PULL_PATIENCE


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
