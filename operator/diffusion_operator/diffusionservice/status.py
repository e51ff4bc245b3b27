"""Status of a DiffusionService, a pure function of what is observed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from diffusion_operator.api.diffusionservice import (
    DiffusionServiceSpec,
    DiffusionServiceStatus,
    Precision,
)
from diffusion_operator.api.fields import seconds
from diffusion_operator.api.observed import ObservedService
from diffusion_operator.api.status import Failure
from diffusion_operator.diffusionservice.kuberay.workload import RayWorkload
from diffusion_operator.diffusionservice.pod_counts import PodCounts
from diffusion_operator.diffusionservice.rollout.gate import Gate
from diffusion_operator.diffusionservice.rollout.rollback import FailedRevision, recorded_failure
from diffusion_operator.diffusionservice.routing.external_route import outside_url
from diffusion_operator.diffusionservice.specs.deployment import desired_replicas
from diffusion_operator.diffusionservice.specs.service import url
from diffusion_operator.kube.conditions import Status, Verdict, conditions
from diffusion_operator.kube.events import DOWNTIME, MODEL_TOO_LARGE
from diffusion_operator.kube.label_selector import selector
from diffusion_operator.kube.problems import Problem
from diffusion_operator.kube.workload import Workload, refusal_of_pods

_NO_ROOM = {"InsufficientGPU", "Unschedulable"}
# Reasons that end where a node comes or an old pod goes.
_NO_NODE = _NO_ROOM | {"NoMatchingNode"}
_MODEL_FAILURES = {"DownloadFailed", "ModelLoadFailed", "WrongDevice"}


def service_status(
    service: Mapping[str, Any],
    spec: DiffusionServiceSpec | None,
    *,
    precision: Precision | None,
    workload: Workload | None,
    pods: PodCounts,
    problem: Problem | None,
    now: str,
    gate: Gate | None = None,
    misfit: str | None = None,
    progressing: Verdict | None = None,
    more: Sequence[Verdict] = (),
) -> DiffusionServiceStatus:
    """Compute the whole status from the workload and its pods.

    Where a problem keeps the children from being as the spec says, both are what existed before.
    """
    meta = service["metadata"]
    previous = ObservedService.of(service)
    failed = recorded_failure(workload)
    desired = workload.revision if workload else ""
    takes_over = previous.revision not in {None, desired}
    verdicts = _verdicts(spec, workload, pods, problem, now, takes_over=takes_over)
    if progressing is not None and problem is None:
        verdicts = [progressing if each.type == "Progressing" else each for each in verdicts]
    if problem is None:
        verdicts = [*verdicts, *more]
    if failed is not None and problem is None:
        verdicts = [_rolled_back(verdict, failed, pods) for verdict in verdicts]
    if gate is not None and problem is None:
        verdicts = [_gated(verdict, gate) for verdict in verdicts]
    if misfit is not None:
        verdicts = [_warned(verdict, misfit) for verdict in verdicts]
    return DiffusionServiceStatus(
        observed_generation=meta["generation"],
        conditions=conditions(
            verdicts,
            previous=previous.conditions,
            generation=meta["generation"],
            now=now,
        ),
        replicas=workload.replicas if workload else 0,
        ready_replicas=workload.ready_replicas if workload else 0,
        selector=",".join(f"{label}={value}" for label, value in selector(service).items()),
        url=outside_url(spec.route)
        if spec is not None and spec.route is not None
        else url(meta["name"], meta["namespace"]),
        revision=_served_revision(workload, pods) or previous.revision,
        failed_revision=failed.revision if failed else None,
        precision=precision or (previous.precision if workload else None),
        last_failure=_last_failure(workload, pods, previous),
    )


def has_settled(workload: Workload, pods: PodCounts) -> bool:
    """Whether all pods exist and the scheduler has considered each.

    Until then another status follows within moments.
    """
    considered = pods.scheduled + pods.unscheduled
    return workload.expected_replicas == workload.replicas == pods.current == considered


def _warned(verdict: Verdict, misfit: str) -> Verdict:
    """Override of ModelLoaded for a model that can't fit its GPU."""
    if verdict.type != "ModelLoaded" or verdict.status != "Unknown":
        return verdict
    return replace(verdict, reason=MODEL_TOO_LARGE, message=misfit)


def _gated(verdict: Verdict, gate: Gate) -> Verdict:
    """Override of Ready and Progressing while a canary is at the gate."""
    if verdict.type == "Progressing":
        return Verdict("Progressing", "True", "Gating", gate.message)
    if verdict.type != "Ready" or verdict.status != "True":
        return verdict
    still = "the previous revision serves meanwhile"
    if gate.failure is None:
        return Verdict("Ready", "Unknown", "Gating", f"{gate.message}; {still}")
    failure = gate.failure
    message = f"{gate.message}: pod {failure.pod}: {failure.message}; {still}"
    return Verdict("Ready", "False", failure.reason, message)


def _rolled_back(verdict: Verdict, failed: FailedRevision, pods: PodCounts) -> Verdict:
    """Override of Ready and Progressing after a rollback."""
    if verdict.type == "Progressing":
        return replace(verdict, reason="RolledBack") if verdict.status == "False" else verdict
    if verdict.type != "Ready" or verdict.status == "False":
        return verdict
    message = (
        f"revision {failed.revision} did not take over ({failed.reason}: {failed.message}); the "
        f"last good one serves until the spec changes: {pods.ready} replicas answer"
    )
    return Verdict("Ready", "False", "RolledBack", message)


def _served_revision(workload: Workload | None, pods: PodCounts) -> str:
    """Serving revision: the desired one once a pod of it answers, else the older one."""
    desired = workload.revision if workload else ""
    if desired in pods.ready_revisions:
        return desired
    return min(pods.ready_revisions, default="")


def _last_failure(
    workload: Workload | None, pods: PodCounts, previous: ObservedService
) -> Failure | None:
    failures = _reported_failures(workload, pods)
    if failures:
        return failures[-1]
    known = [*([previous.last_failure] if previous.last_failure else ()), *pods.ended]
    return max(known, key=lambda failure: failure.time or "", default=None)


def _verdicts(
    spec: DiffusionServiceSpec | None,
    workload: Workload | None,
    pods: PodCounts,
    problem: Problem | None,
    now: str,
    *,
    takes_over: bool,
) -> list[Verdict]:
    if problem is not None or spec is None:
        cause = problem or Problem("InvalidSpec", "the spec can't be read")
        still = f"; the previous pods still serve: {pods.ready} replicas answer"
        message = f"{cause.message}{still}" if pods.ready else cause.message
        ready: Status = "Unknown" if cause.passes else "False"
        moves: Status = "True" if cause.passes else "False"
        progress = (
            "no progress until this resolves itself"
            if cause.passes
            else "no progress until this is fixed"
        )
        return [
            Verdict("Ready", ready, cause.reason, message),
            Verdict("Progressing", moves, cause.reason, progress),
            _scheduled(pods),
            _model_loaded(pods),
            _stopped_meanwhile(spec, workload, pods, cause),
        ]
    desired = desired_replicas(spec, workload.desired_replicas if workload else None)
    return [
        _ready(spec, workload, pods, now),
        _progressing(spec, desired, workload, pods, takes_over=takes_over),
        _scheduled(pods),
        _model_loaded(pods),
        _stopped(spec, pods),
    ]


def _rolled_out(desired: int, workload: Workload | None, pods: PodCounts) -> bool:
    if workload is None:
        return desired == 0
    counts = {workload.updated_replicas, workload.replicas, workload.available_replicas}
    return workload.is_observed and pods.ready >= desired and counts == {desired}


def _idle(spec: DiffusionServiceSpec) -> Problem | None:
    """Reason for zero replicas, or ``None``."""
    if spec.suspend:
        return Problem("Suspended", "spec.suspend is true: nothing answers until it is false")
    if spec.replicas == 0 and spec.autoscaling is None:
        return Problem("ScaledToZero", "spec.replicas is 0: nothing answers")
    return None


def _stopped(spec: DiffusionServiceSpec, pods: PodCounts) -> Verdict:
    idle = _idle(spec)
    if idle is None:
        return Verdict("Stopped", "False", "Wanted", "replicas is above 0")
    if pods.present:
        return Verdict("Stopped", "False", "Stopping", f"{pods.present} pods are terminating")
    return Verdict("Stopped", "True", idle.reason, "no pod exists")


def _stopped_meanwhile(
    spec: DiffusionServiceSpec | None,
    workload: Workload | None,
    pods: PodCounts,
    problem: Problem,
) -> Verdict:
    """Stopped condition while a problem keeps the children as they are."""
    if spec is None:
        return Verdict(
            "Stopped", "Unknown", problem.reason, "the desired number of replicas isn't known"
        )
    if _idle(spec) is None:
        return _stopped(spec, pods)
    if pods.present:
        message = f"{pods.present} pods exist, which may not be terminating"
        return Verdict("Stopped", "False", problem.reason, message)
    if workload is not None and workload.expected_replicas:
        message = "no pod exists, but the workload may still create some"
        return Verdict("Stopped", "Unknown", problem.reason, message)
    return _stopped(spec, pods)


def _ready(
    spec: DiffusionServiceSpec, workload: Workload | None, pods: PodCounts, now: str
) -> Verdict:
    idle = _idle(spec)
    if idle is not None:
        return Verdict("Ready", "False", idle.reason, idle.message)
    desired = desired_replicas(spec, workload.desired_replicas if workload else None)
    if _rolled_out(desired, workload, pods):
        return _serving(desired, pods)
    trouble = _trouble(workload, pods)
    if trouble is not None:
        passes = trouble.passes or node_wait_seconds(spec, workload, pods, now) is not None
        return Verdict("Ready", "Unknown" if passes else "False", trouble.reason, trouble.message)
    if isinstance(workload, RayWorkload) and workload.is_awaited:
        return Verdict("Ready", "Unknown", "AwaitingKubeRay", _unheard(pods))
    message = f"{pods.ready} of {desired} replicas of this revision answer"
    return Verdict("Ready", "Unknown", "RollingOut", message)


def node_wait_seconds(
    spec: DiffusionServiceSpec, workload: Workload | None, pods: PodCounts, now: str
) -> float | None:
    """Seconds for which pods without a node are still no failure, or ``None``.

    An autoscaler may add a node for that long; meanwhile "not yet" is no "no".
    """
    failures = _reported_failures(workload, pods)
    waiting = [failure for failure in failures if failure.reason in _NO_NODE and failure.time]
    if not failures or len(waiting) < len(failures) or (workload and workload.is_overdue):
        return None
    begun = min(datetime.fromisoformat(failure.time or now) for failure in waiting)
    waited = (datetime.fromisoformat(now) - begun).total_seconds()
    left = seconds(spec.rollout.surge_timeout) - waited
    return left if left > 0 else None


def _unheard(pods: PodCounts) -> str:
    message = "KubeRay has not acted on the RayService yet: does its operator run?"
    still = sorted(pods.ready_revisions)
    return f"{message} Until then revision {still[0]} serves" if still else message


def _serving(desired: int, pods: PodCounts) -> Verdict:
    message = f"{pods.ready} of {desired} replicas answer"
    reachable = min(desired, pods.addressed) if pods.head_ready is None else min(1, pods.addressed)
    if pods.endpoints is not None and pods.endpoints < reachable:
        message = (
            f"{message}, and the Service leads to {pods.endpoints} of them: if this lasts, compare "
            "its EndpointSlices and its selector with the pods' labels"
        )
        return Verdict("Ready", "Unknown", "AwaitingEndpoints", message)
    if pods.head_ready is None:
        return Verdict("Ready", "True", "Serving", message)
    if pods.head_ready:
        message = f"{message}, all through one Ray head: no request succeeds while it is replaced"
        return Verdict("Ready", "True", "Serving", message)
    lost = "the head of the Ray cluster is lost: nothing answers until head and workers are back"
    return Verdict("Ready", "False", "HeadLost", lost)


def _trouble(workload: Workload | None, pods: PodCounts) -> Problem | None:
    """Reason for which replicas don't answer; no room passes while older replicas answer."""
    older = bool(pods.ready_revisions) and not pods.ready and not _lost_their_head(pods)
    # A Ray cluster's rollout has no deadline, after which it would be a failure.
    has_deadline = not isinstance(workload, RayWorkload)
    rolls_out = bool(pods.ready_revisions) and pods.older > 0 and has_deadline
    overdue = workload is not None and workload.is_overdue
    failures = _reported_failures(workload, pods)
    if failures:
        latest = failures[-1]
        still = "; the previous revision still answers" if older else ""
        message = f"pod {latest.pod}: {latest.message}{still}"
        no_room = all(failure.reason in _NO_NODE for failure in failures)
        return Problem(latest.reason, message, passes=no_room and rolls_out and not overdue)
    if workload is None:
        return None
    refused = refusal_of_pods(workload)
    if refused is not None:
        return replace(refused, passes=rolls_out and not overdue)
    if overdue:
        return Problem("ProbeFailed", "no pod became ready in time: see kubectl logs of its pods")
    return None


def _reported_failures(workload: Workload | None, pods: PodCounts) -> list[Failure]:
    """Failures without those of pods that wait for an old pod to terminate."""
    waits = workload is not None and workload.is_in_place and pods.older > 0
    return [each for each in pods.failures if not (waits and each.reason in _NO_ROOM)]


def _progressing(
    spec: DiffusionServiceSpec,
    desired: int,
    workload: Workload | None,
    pods: PodCounts,
    *,
    takes_over: bool,
) -> Verdict:
    if _rolled_out(desired, workload, pods):
        return Verdict("Progressing", "False", "UpToDate", "every replica is of this revision")
    message = f"{pods.current} of {desired} replicas are of this revision, {pods.ready} answer"
    if workload is None or not (pods.older or takes_over):
        return Verdict("Progressing", "True", "RollingOut", message)
    reason, how = _way(spec, desired, workload, pods)
    return Verdict("Progressing", "True", reason, f"{message}; {how}")


def _way(
    spec: DiffusionServiceSpec, desired: int, workload: Workload, pods: PodCounts
) -> tuple[str, str]:
    """Way of a takeover: its reason and its explanation."""
    if isinstance(workload, RayWorkload):
        return _kuberays_way(workload)
    lacking = "there is no spare GPU" if spec.gpu else "there is no room for one more pod"
    if _lost_their_head(pods):
        how = (
            "requests fail until every replica is of this revision, as the workers of the Ray "
            "cluster before it take none without its head"
        )
        return DOWNTIME, how
    if not workload.is_in_place:
        surge = "each new replica answers before an old one terminates"
        return "RollingOut", surge if pods.older else "no pod of an earlier revision is left"
    if desired == 1:
        how = f"nothing answers meanwhile, as the only replica has to terminate first: {lacking}"
        return DOWNTIME, how
    return (
        "RollingOutInPlace",
        f"one replica at a time terminates before the next starts: {lacking}",
    )


def _lost_their_head(pods: PodCounts) -> bool:
    """Whether older pods are Ray workers whose head is gone."""
    return pods.head_ready is None and pods.older_workers > 0


def _kuberays_way(workload: RayWorkload) -> tuple[str, str]:
    if workload.served_cluster:
        how = (
            "KubeRay creates another Ray cluster beside the serving one, "
            "which terminates afterwards"
        )
        return "RollingOut", how
    return DOWNTIME, "nothing answers meanwhile, as KubeRay's Ray cluster is not there yet"


def _scheduled(pods: PodCounts) -> Verdict:
    if pods.current == 0:
        return Verdict("PodsScheduled", "Unknown", "NoPods", "no pod of this revision yet")
    if pods.unscheduled:
        message = f"there is no node for {pods.unscheduled} of {pods.current} pods"
        return Verdict("PodsScheduled", "False", "Unscheduled", message)
    if pods.scheduled < pods.current:
        return Verdict("PodsScheduled", "Unknown", "Scheduling", "the scheduler is choosing nodes")
    return Verdict("PodsScheduled", "True", "Scheduled", "every pod has a node")


def _model_loaded(pods: PodCounts) -> Verdict:
    failed = [each for each in pods.failures if each.reason in _MODEL_FAILURES]
    if pods.ready:
        return Verdict("ModelLoaded", "True", "Loaded", f"{pods.ready} replicas hold the model")
    if failed:
        return Verdict("ModelLoaded", "False", failed[-1].reason, failed[-1].message)
    return Verdict("ModelLoaded", "Unknown", "Loading", "no replica has loaded it yet")
