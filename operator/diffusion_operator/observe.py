"""Pods sorted into named buckets first; what they mean is decided after, in ``status``."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffusion_operator.api.diffusionservice import Failure
from diffusion_operator.objects import REVISION_LABEL, WORKER_LABEL, condition_of, labels_of

_PULL_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError"}
_BEFORE_START = {"ContainerCreating", "PodInitializing"}
# Of the kubelet: secret "x" not found; couldn't find key k in Secret ns/x; references
# non-existent secret key: k.
_NO_SECRET = re.compile(r'secret "[^"]+" not found|key \S+ in Secret|non-existent secret key')
# How a container ends that the kubelet ended: by itself on SIGTERM, by SIGTERM, by SIGKILL.
_ENDED_FROM_OUTSIDE = {0, 137, 143}
# Only an extended resource has a slash in its name: "1 Insufficient nvidia.com/gpu".
_EXTENDED_RESOURCE_SHORT = re.compile(r"Insufficient [^ ,]+/")
_MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class Pods:
    """The pods of one DiffusionService.

    Those being deleted are left out but where it says otherwise. Those that have ended, which an
    eviction leaves behind, are in none of the counts.
    """

    present: int
    """Pods of any revision that are there, those that finish what they have included."""
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
    head_ready: bool | None = None
    """Whether the head of the Ray cluster answers; nothing where there is none."""
    awaiting_volumes: tuple[Mapping[str, Any], ...] = ()
    """Those of the wanted revision of which no container has begun."""
    older: int = 0
    """Pods of other revisions that are there, those that finish what they have included."""
    older_workers: int = 0
    """Those of them that are workers of a Ray cluster, which answer only through its head."""
    ended: tuple[Failure, ...] = ()
    """Why pods of the wanted revision ended, in whose place others are, the latest last."""


def observe_pods(pods: Iterable[Mapping[str, Any]], revision: str) -> Pods:
    """Sort the pods by what they do for ``revision``."""
    found = list(pods)
    every = [pod for pod in found if not has_ended(pod)]
    alive = [pod for pod in every if not pod["metadata"].get("deletionTimestamp")]
    current = [pod for pod in alive if pod_revision(pod) == revision]
    older = [pod for pod in every if pod_revision(pod) != revision]
    failures = [failure for pod in current if (failure := failure_of(pod)) is not None]
    ended = [_end_of(pod) for pod in found if has_ended(pod) and pod_revision(pod) == revision]
    return Pods(
        present=len(every),
        current=len(current),
        ready=sum(is_ready(pod) for pod in current),
        ready_revisions=frozenset(pod_revision(pod) for pod in alive if is_ready(pod)),
        scheduled=sum(bool((pod.get("spec") or {}).get("nodeName")) for pod in current),
        unscheduled=sum(found_no_node(pod) is not None for pod in current),
        failures=tuple(sorted(failures, key=lambda failure: failure.time or "")),
        awaiting_volumes=tuple(pod for pod in current if awaits_volumes(pod)),
        older=len(older),
        older_workers=sum(WORKER_LABEL in labels_of(pod) for pod in older),
        ended=tuple(sorted(ended, key=lambda failure: failure.time or "")),
    )


def with_head(pods: Pods, heads: Pods) -> Pods:
    """The pods together with the head of their Ray cluster."""
    return replace(
        pods,
        present=pods.present + heads.present,
        failures=(*pods.failures, *heads.failures),
        awaiting_volumes=(*pods.awaiting_volumes, *heads.awaiting_volumes),
        head_ready=heads.ready > 0,
    )


def pod_revision(pod: Mapping[str, Any]) -> str:
    """The revision that the pod is of."""
    return labels_of(pod).get(REVISION_LABEL, "")


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether the pod is only there to be looked at: evicted, say, or refused by its node."""
    return (pod.get("status") or {}).get("phase") in {"Failed", "Succeeded"}


def _end_of(pod: Mapping[str, Any]) -> Failure:
    """Why the pod ended, in the kubelet's words or in its own."""
    status = pod["status"]
    times = [
        ended.get("finishedAt")
        for found in _statuses(pod)
        if (ended := (found.get("state") or {}).get("terminated"))
    ]
    time = max(filter(None, times), default=pod["metadata"].get("creationTimestamp"))
    reason = status.get("reason") or ""
    if not reason.isalnum():
        return failure_of(pod) or _failure(pod, "Ended", "the pod has ended", time)
    return _failure(pod, reason, status.get("message") or "the pod has ended", time)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the kubelet sends requests to the pod."""
    ready = condition_of(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def restarts(pod: Mapping[str, Any]) -> int:
    """How often the pod's containers had to be started again, the most restarted one."""
    return max((int(found.get("restartCount", 0)) for found in _statuses(pod)), default=0)


def failure_of(pod: Mapping[str, Any]) -> Failure | None:
    """What went wrong in a pod that doesn't answer, if anything did."""
    if is_ready(pod):
        return None
    refused = found_no_node(pod)
    if refused is not None:
        return _unscheduled(pod, refused)
    return next(
        (failure for status in _statuses(pod) if (failure := _container_failure(pod, status))),
        None,
    )


def _statuses(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The containers' statuses, those that run first before the others."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def awaits_volumes(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has a node and no container of it has begun: its volumes may be why.

    The kubelet says what is wrong with a volume in an Event alone.
    """
    placed = bool((pod.get("spec") or {}).get("nodeName"))
    waiting = [((found.get("state") or {}).get("waiting") or {}) for found in _statuses(pod)]
    return placed and all(found.get("reason") in _BEFORE_START for found in waiting)


def mount_failure(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Failure | None:
    """Why the pod's volumes can't be mounted, by the newest FailedMount event about it."""
    uid = pod["metadata"]["uid"]
    own = [event for event in events if event["involvedObject"].get("uid") == uid]
    found = sorted(own, key=lambda event: event.get("lastTimestamp") or "")
    if not found:
        return None
    message = found[-1].get("message") or ""
    reason = "SecretNotFound" if _NO_SECRET.search(message) else "MountFailed"
    return _failure(pod, reason, message, found[-1].get("lastTimestamp"))


def found_no_node(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
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
        missing = bool(_NO_SECRET.search(message))
        return _failure(pod, "SecretNotFound" if missing else "ConfigError", message, created)
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    if not ended or status.get("ready"):
        return None
    if _probes_ended_it(pod, status, ended):
        message = (
            "the kubelet ended the container since it did not answer its probes: see kubectl logs "
            f"{_name(pod)} --previous"
        )
        return _failure(pod, "ProbeFailed", message, ended.get("finishedAt"), ended["exitCode"])
    return ended_container(pod, ended)


def _probes_ended_it(
    pod: Mapping[str, Any], status: Mapping[str, Any], ended: Mapping[str, Any]
) -> bool:
    """Whether a probed container was ended from outside, and had to be started again."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    probed = any(
        found["name"] == status.get("name") and "livenessProbe" in found for found in containers
    )
    return (
        probed
        and bool(status.get("restartCount"))
        and ended.get("exitCode") in _ENDED_FROM_OUTSIDE
        and ended.get("reason") != "OOMKilled"
        and _own_words(ended.get("message") or "") is None
    )


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
