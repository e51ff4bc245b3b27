"""Counts of a DiffusionService's pods by named bucket; ``status`` decides what they mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffusion_operator.api.status import Failure
from diffusion_operator.kube.objects import WORKER_LABEL, labels_of
from diffusion_operator.kube.pod_status import (
    awaits_volumes,
    end_of,
    failure_of,
    has_ended,
    is_ready,
    pod_revision,
    unschedulable,
)


@dataclass(frozen=True)
class PodCounts:
    """Counts of one DiffusionService's pods.

    Terminating pods are left out unless a field says otherwise. Terminated pods, which an eviction
    leaves behind, are in no count.
    """

    present: int
    """Existing pods of any revision, terminating ones included."""
    current: int
    """Pods of the desired revision."""
    ready: int
    """Pods of the desired revision that answer."""
    ready_revisions: frozenset[str]
    """Revisions with at least one pod that answers."""
    scheduled: int
    """Pods of the desired revision that have a node."""
    unscheduled: int
    """Pods of the desired revision that fit no node."""
    failures: tuple[Failure, ...]
    """Failures of the desired revision's pods, latest last."""
    head_ready: bool | None = None
    """Whether the Ray head answers; ``None`` without a Ray cluster."""
    awaiting_volumes: tuple[Mapping[str, Any], ...] = ()
    """Pods of the desired revision without a started container."""
    older: int = 0
    """Existing pods of other revisions, terminating ones included."""
    older_workers: int = 0
    """Older pods that are Ray workers, which answer only through their head."""
    ended: tuple[Failure, ...] = ()
    """Causes of terminated pods of the desired revision, latest last."""
    addressed: int = 0
    """Pods of the desired revision that answer and have an address."""
    endpoints: int | None = None
    """Pods that the Service leads to; ``None`` where nothing reports them."""


def observe_pods(pods: Iterable[Mapping[str, Any]], revision: str) -> PodCounts:
    """Sort the pods into buckets for ``revision``."""
    known = list(pods)
    every = [pod for pod in known if not has_ended(pod)]
    alive = [pod for pod in every if not pod["metadata"].get("deletionTimestamp")]
    current = [pod for pod in alive if pod_revision(pod) == revision]
    older = [pod for pod in every if pod_revision(pod) != revision]
    failures = [failure for pod in current if (failure := failure_of(pod)) is not None]
    # A pod that was deleted has ended as it should: a scale-down, a restart, a deleted namesake.
    ended = [
        end_of(pod)
        for pod in known
        if has_ended(pod)
        and pod_revision(pod) == revision
        and not pod["metadata"].get("deletionTimestamp")
    ]
    return PodCounts(
        present=len(every),
        current=len(current),
        ready=sum(is_ready(pod) for pod in current),
        ready_revisions=frozenset(pod_revision(pod) for pod in alive if is_ready(pod)),
        scheduled=sum(bool((pod.get("spec") or {}).get("nodeName")) for pod in current),
        unscheduled=sum(unschedulable(pod) is not None for pod in current),
        failures=tuple(sorted(failures, key=lambda failure: failure.time or "")),
        awaiting_volumes=tuple(pod for pod in current if awaits_volumes(pod)),
        older=len(older),
        older_workers=sum(WORKER_LABEL in labels_of(pod) for pod in older),
        ended=tuple(sorted(ended, key=lambda failure: failure.time or "")),
        addressed=sum(is_ready(pod) and bool(pod["status"].get("podIP")) for pod in current),
    )


def with_head(pods: PodCounts, heads: PodCounts) -> PodCounts:
    """Counts of the workers together with their Ray head."""
    return replace(
        pods,
        present=pods.present + heads.present,
        failures=(*pods.failures, *heads.failures),
        awaiting_volumes=(*pods.awaiting_volumes, *heads.awaiting_volumes),
        head_ready=heads.ready > 0,
    )
