"""Status of a pod: readiness, revision, restarts, and the failure that keeps one from answering."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from diffusion_operator.api.observed import ObservedCondition
from diffusion_operator.api.status import Failure
from diffusion_operator.kube.conditions import condition_of
from diffusion_operator.kube.objects import REVISION_LABEL, labels_of

_PULL_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError"}
_BEFORE_START = {"ContainerCreating", "PodInitializing"}
# The kubelet writes: secret "x" not found; couldn't find key k in Secret ns/x; references non-
# existent secret key: k.
_NO_SECRET = re.compile(r'secret "[^"]+" not found|key \S+ in Secret|non-existent secret key')
# Exit codes of containers that the kubelet stopped: clean on SIGTERM, SIGKILL, SIGTERM.
_ENDED_FROM_OUTSIDE = {0, 137, 143}
# Only an extended resource has a slash: "1 Insufficient nvidia.com/gpu".
_EXTENDED_RESOURCE_SHORT = re.compile(r"Insufficient [^ ,]+/")
_MESSAGE_LIMIT = 1024


def pod_revision(pod: Mapping[str, Any]) -> str:
    """Revision of the pod."""
    return labels_of(pod).get(REVISION_LABEL, "")


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has terminated: evicted, say, or rejected by its node."""
    return (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}


def end_of(pod: Mapping[str, Any]) -> Failure:
    """Cause of the pod's termination, by the kubelet or by its own message."""
    status = pod["status"]
    times = [
        ended.get("finishedAt")
        for status_of in _statuses(pod)
        if (ended := (status_of.get("state") or {}).get("terminated"))
    ]
    time = max(filter(None, times), default=pod["metadata"].get("creationTimestamp"))
    reason = status.get("reason") or ""
    if not reason.isalnum():
        return failure_of(pod) or _failure(pod, "Ended", "the pod has terminated", time)
    return _failure(pod, reason, status.get("message") or "the pod has terminated", time)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the kubelet sends requests to the pod."""
    ready = condition_of(pod, "Ready")
    return ready is not None and ready.is_true


def restarts(pod: Mapping[str, Any], sidecars: Collection[str] = ()) -> int:
    """Highest restart count among the pod's containers, without its sidecars."""
    own = [each for each in _statuses(pod) if each.get("name") not in sidecars]
    return max((int(each.get("restartCount", 0)) for each in own), default=0)


def pull_begun(pod: Mapping[str, Any]) -> str | None:
    """Time at which the pod's latest pull began, as far as its status tells.

    The kubelet pulls once the pod has a node and its sandbox, and after each init container.
    """
    steps = ("PodScheduled", "PodReadyToStartContainers", "Initialized")
    reached = [condition_of(pod, step) for step in steps]
    times = [each.last_transition_time for each in reached if each is not None and each.is_true]
    first = (pod.get("status") or {}).get("initContainerStatuses") or ()
    ended = [
        ((each.get("state") or {}).get("terminated") or {}).get("finishedAt") for each in first
    ]
    created: str | None = pod["metadata"].get("creationTimestamp")
    return max(filter(None, [*times, *ended]), default=created)


def failure_of(pod: Mapping[str, Any]) -> Failure | None:
    """Failure of a pod that doesn't answer, or ``None``."""
    if is_ready(pod):
        return None
    refused = unschedulable(pod)
    if refused is not None:
        return _unscheduled(pod, refused)
    return next(
        (failure for status in _statuses(pod) if (failure := _container_failure(pod, status))),
        None,
    )


def _statuses(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Container statuses, init containers first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def awaits_volumes(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has a node and no container has started, so that its volumes may be the
    cause.

    The kubelet reports volume problems in Events only.
    """
    placed = bool((pod.get("spec") or {}).get("nodeName"))
    waiting = [((each.get("state") or {}).get("waiting") or {}) for each in _statuses(pod)]
    return placed and all(each.get("reason") in _BEFORE_START for each in waiting)


def mount_failure(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Failure | None:
    """Mount failure of the pod by its newest FailedMount event."""
    uid = pod["metadata"]["uid"]
    own = [event for event in events if event["involvedObject"].get("uid") == uid]
    newest_last = sorted(own, key=lambda event: event.get("lastTimestamp") or "")
    if not newest_last:
        return None
    message = newest_last[-1].get("message") or ""
    reason = "SecretNotFound" if _NO_SECRET.search(message) else "MountFailed"
    return _failure(pod, reason, message, newest_last[-1].get("lastTimestamp"))


def unschedulable(pod: Mapping[str, Any]) -> ObservedCondition | None:
    """Condition in which the scheduler says why no node fits, or ``None``."""
    scheduled = condition_of(pod, "PodScheduled")
    unschedulable = scheduled is not None and scheduled.reason == "Unschedulable"
    return scheduled if unschedulable else None


def _unscheduled(pod: Mapping[str, Any], scheduled: ObservedCondition) -> Failure:
    message = scheduled.message
    if _EXTENDED_RESOURCE_SHORT.search(message):
        reason = "InsufficientGPU"
    elif "node affinity/selector" in message or "untolerated taint" in message:
        reason = "NoMatchingNode"
    else:
        reason = "Unschedulable"
    return _failure(pod, reason, message, scheduled.last_transition_time)


def _container_failure(pod: Mapping[str, Any], status: Mapping[str, Any]) -> Failure | None:
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    created = pod["metadata"].get("creationTimestamp")
    if reason in _PULL_REASONS:
        return _failure(pod, "ImagePullFailed", f"{status.get('image', '')}: {message}", created)
    if reason in _CONFIG_REASONS:
        missing = bool(_NO_SECRET.search(message))
        return _failure(pod, "SecretNotFound" if missing else "ConfigError", message, created)
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    if not ended or status.get("ready"):
        return None
    if _probes_ended_it(pod, status, ended):
        message = (
            "the kubelet restarted the container since it did not answer "
            "its probes: see kubectl logs "
            f"{_name(pod)} --previous"
        )
        return _failure(pod, "ProbeFailed", message, ended.get("finishedAt"), ended["exitCode"])
    return ended_container(pod, ended)


def _probes_ended_it(
    pod: Mapping[str, Any], status: Mapping[str, Any], ended: Mapping[str, Any]
) -> bool:
    """Whether the kubelet restarted a container after failed probes."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    probed = any(
        each["name"] == status.get("name") and "livenessProbe" in each for each in containers
    )
    return (
        probed
        and bool(status.get("restartCount"))
        and ended.get("exitCode") in _ENDED_FROM_OUTSIDE
        and ended.get("reason") != "OOMKilled"
        and _own_words(ended.get("message") or "") is None
    )


def ended_container(pod: Mapping[str, Any], ended: Mapping[str, Any]) -> Failure | None:
    """Failure of a terminated container, by its own message where it left one; ``None`` for a clean
    exit.
    """
    code, time = ended.get("exitCode", 0), ended.get("finishedAt")
    if ended.get("reason") == "OOMKilled":
        message = "the container used more memory than its limit: raise the limit"
        return _failure(pod, "OutOfMemory", message, time, code)
    if code == 0:
        return None
    own = _own_words(ended.get("message") or "")
    if own is not None:
        return _failure(pod, own[0], own[1], time, code)
    message = f"the container exited with code {code}: see kubectl logs {_name(pod)} --previous"
    return _failure(pod, "CrashLooping", message, time, code)


def _own_words(termination_message: str) -> tuple[str, str] | None:
    """Reason and message of the termination message, or ``None``."""
    try:
        words = json.loads(termination_message)
        reason, message = str(words["reason"]), str(words["message"])
    except (ValueError, KeyError, TypeError):
        return None
    return (reason, message) if reason.isalnum() else None


def _name(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def _failure(
    pod: Mapping[str, Any], reason: str, message: str, time: str | None, code: int | None = None
) -> Failure:
    return Failure(
        pod=_name(pod), reason=reason, exit_code=code, message=message[:_MESSAGE_LIMIT], time=time
    )
