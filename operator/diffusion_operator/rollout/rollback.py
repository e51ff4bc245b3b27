"""Which revision serves where the one that is asked for never becomes ready.

What has to be remembered stands where it takes effect: the last good pods in a ControllerRevision,
the revision that failed in an annotation of the Deployment that serves in its place.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from diffusion_operator.api.diffusionservice import Failure
from diffusion_operator.build.deployment import revision_of
from diffusion_operator.build.good_revision import kept_revision, kept_templates
from diffusion_operator.objects import ROLLED_BACK_ANNOTATION, Object, condition_of
from diffusion_operator.observe import failure_of, has_ended, is_ready, pod_revision, restarts

# The kubelet has then waited for 10 and 20 seconds between them.
MOST_RESTARTS = 3
# A registry that is away for a moment is no reason to go back.
PULL_PATIENCE = timedelta(minutes=2)


@dataclass(frozen=True)
class Failed:
    """A revision that never became ready, and why."""

    revision: str
    reason: str
    message: str

    def text(self) -> str:
        """As an annotation of the Deployment."""
        return json.dumps([self.revision, self.reason, self.message])


def noted_failure(live: Mapping[str, Any] | None) -> Failed | None:
    """The revision that the live Deployment serves in place of."""
    annotations = (live or {}).get("metadata", {}).get("annotations") or {}
    text = annotations.get(ROLLED_BACK_ANNOTATION)
    if text is None:
        return None
    try:
        return Failed(*map(str, json.loads(text)))
    except (ValueError, TypeError):  # someone else wrote it: the spec's revision is tried anew
        return None


def has_served(
    service: Mapping[str, Any], revision: str, pods: Iterable[Mapping[str, Any]]
) -> bool:
    """Whether a pod of the revision has answered requests."""
    if revision and (service.get("status") or {}).get("revision") == revision:
        return True
    return any(pod_revision(pod) == revision and is_ready(pod) for pod in pods)


def last_good(kept: Iterable[Object]) -> Object | None:
    """The newest of the ControllerRevisions."""
    return max(kept, key=lambda found: int(found["revision"]), default=None)


def can_serve_instead(good: Mapping[str, Any], built: Sequence[Object]) -> bool:
    """Whether the kept pods are of another revision, and fit the Deployments that are built."""
    names = {each["metadata"]["name"] for each in built}
    return kept_revision(good) != revision_of(built[0]) and set(kept_templates(good)) == names


def failed_for_good(
    live: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], now: str
) -> Failed | None:
    """Why the live Deployment's revision, of which no pod has answered yet, never will."""
    revision = revision_of(live)
    found = [
        (pod, failure)
        for pod in pods
        if pod_revision(pod) == revision
        and not pod["metadata"].get("deletionTimestamp")
        and not has_ended(pod)
        and (failure := failure_of(pod)) is not None
    ]
    for pod, failure in found:
        if restarts(pod) >= MOST_RESTARTS or _pulled_too_long(pod, failure, now):
            return Failed(revision, failure.reason, failure.message)
    if not _is_overdue(live):
        return None
    if found:
        return Failed(revision, found[-1][1].reason, found[-1][1].message)
    return Failed(revision, "ProbeFailed", "no pod became ready in time")


def _pulled_too_long(pod: Mapping[str, Any], failure: Failure, now: str) -> bool:
    begun = pod["metadata"].get("creationTimestamp")
    if failure.reason != "ImagePullFailed" or begun is None:
        return False
    return datetime.fromisoformat(now) - datetime.fromisoformat(begun) >= PULL_PATIENCE


def _is_overdue(live: Mapping[str, Any]) -> bool:
    status = live.get("status") or {}
    moving = condition_of(live, "Progressing")
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    return seen and moving is not None and moving.get("reason") == "ProgressDeadlineExceeded"
