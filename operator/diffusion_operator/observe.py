"""Pods sorted into named buckets first; what they mean is decided after, in ``status``."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from diffusion_operator.api.diffusionservice import Failure
from diffusion_operator.objects import REVISION_LABEL, condition_of, labels_of

_PULL_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError"}
# Only an extended resource has a slash in its name: "1 Insufficient nvidia.com/gpu".
_EXTENDED_RESOURCE_SHORT = re.compile(r"Insufficient [^ ,]+/")
_MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class Pods:
    """The pods of one DiffusionService, those being deleted left out of every bucket."""

    current: int
    """Pods of the wanted revision."""
    ready: int
    """Those of the wanted revision that answer."""
    ready_revisions: frozenset[str]
    """Revisions with at least one pod that answers."""
    scheduled: int
    """Those of the wanted revision that have a node."""
    unscheduled: int
    """Those of the wanted revision that the scheduler has found no node for."""
    failures: tuple[Failure, ...]
    """What keeps pods of the wanted revision from answering, the latest last."""


def observe_pods(pods: Iterable[Mapping[str, Any]], revision: str) -> Pods:
    """Sort the pods by what they do for ``revision``."""
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    current = [pod for pod in alive if _revision(pod) == revision]
    failures = [failure for pod in current if (failure := failure_of(pod)) is not None]
    return Pods(
        current=len(current),
        ready=sum(is_ready(pod) for pod in current),
        ready_revisions=frozenset(_revision(pod) for pod in alive if is_ready(pod)),
        scheduled=sum(bool((pod.get("spec") or {}).get("nodeName")) for pod in current),
        unscheduled=sum(_found_no_node(pod) is not None for pod in current),
        failures=tuple(sorted(failures, key=lambda failure: failure.time or "")),
    )


def _revision(pod: Mapping[str, Any]) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the kubelet sends requests to the pod."""
    ready = condition_of(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def failure_of(pod: Mapping[str, Any]) -> Failure | None:
    """What went wrong in a pod that doesn't answer, if anything did."""
    if is_ready(pod):
        return None
    refused = _found_no_node(pod)
    if refused is not None:
        return _unscheduled(pod, refused)
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next(
        (failure for status in statuses if (failure := _container_failure(pod, status))), None
    )


def _found_no_node(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The scheduler's own words on why it found no node, if it has looked and found none."""
    scheduled = condition_of(pod, "PodScheduled")
    unschedulable = scheduled is not None and scheduled.get("reason") == "Unschedulable"
    return scheduled if unschedulable else None


def _unscheduled(pod: Mapping[str, Any], scheduled: Mapping[str, Any]) -> Failure:
    message = scheduled.get("message", "")
    if _EXTENDED_RESOURCE_SHORT.search(message):
        reason = "InsufficientGPU"
    elif "node affinity/selector" in message or "untolerated taint" in message:
        reason = "NoMatchingNode"
    else:
        reason = "Unschedulable"
    return _failure(pod, reason, message, scheduled.get("lastTransitionTime"))


def _container_failure(pod: Mapping[str, Any], status: Mapping[str, Any]) -> Failure | None:
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    created = pod["metadata"].get("creationTimestamp")
    if reason in _PULL_REASONS:
        return _failure(pod, "ImagePullFailed", f"{status.get('image', '')}: {message}", created)
    if reason in _CONFIG_REASONS:
        return _failure(pod, "ConfigError", message, created)
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    if ended and not status.get("ready"):
        return ended_container(pod, ended)
    return None


def ended_container(pod: Mapping[str, Any], ended: Mapping[str, Any]) -> Failure | None:
    """Why a container ended, in its own words where it left some; nothing for a clean end."""
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
    """Reason and message that the program left as its termination message."""
    try:
        found = json.loads(termination_message)
        reason, message = str(found["reason"]), str(found["message"])
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
