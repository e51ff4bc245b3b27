"""The status of a DiffusionService."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diffusion_operator.api.diffusionservice import (
    DiffusionServiceSpec,
    DiffusionServiceStatus,
    Failure,
    Precision,
)
from diffusion_operator.build.deployment import is_in_place, is_recreated, revision_of
from diffusion_operator.build.metadata import selector
from diffusion_operator.build.route import outside_url
from diffusion_operator.build.service import url
from diffusion_operator.kuberay import is_kuberays, is_unheard, served_cluster
from diffusion_operator.objects import condition_of
from diffusion_operator.observe import Pods
from diffusion_operator.rollout.gate import Gate
from diffusion_operator.rollout.rollback import Failed, noted_failure
from diffusion_operator.scaling.scaler import asked_replicas
from diffusion_operator.status.conditions import Status, Verdict, conditions
from diffusion_operator.status.events import DOWNTIME, MODEL_TOO_LARGE

_NO_ROOM = {"InsufficientGPU", "Unschedulable"}
_MODEL_FAILURES = {"DownloadFailed", "ModelLoadFailed", "WrongDevice"}


@dataclass(frozen=True)
class Problem:
    """Why the children can't be made as the spec asks."""

    reason: str
    message: str
    passes: bool = False
    """Whether it goes by itself, so that nothing is wrong."""


def service_status(
    service: Mapping[str, Any],
    spec: DiffusionServiceSpec | None,
    *,
    precision: Precision | None,
    deployment: Mapping[str, Any] | None,
    pods: Pods,
    problem: Problem | None,
    now: str,
    gate: Gate | None = None,
    misfit: str | None = None,
) -> DiffusionServiceStatus:
    """The whole status, from the live Deployment and its pods.

    A RayService comes as the Deployment of its workers would.
    Where a problem keeps the spec from coming true, these are what was there before it.
    """
    meta = service["metadata"]
    previous = service.get("status") or {}
    failed = noted_failure(deployment)
    wanted = revision_of(deployment) if deployment else ""
    takes_over = previous.get("revision") not in {None, wanted}
    verdicts = _verdicts(spec, deployment, pods, problem, takes_over=takes_over)
    if failed is not None and problem is None:
        verdicts = [_rolled_back(found, failed, pods) for found in verdicts]
    if gate is not None and problem is None:
        verdicts = [_gated(found, gate) for found in verdicts]
    if misfit is not None:
        verdicts = [_warned(found, misfit) for found in verdicts]
    live = (deployment or {}).get("status") or {}
    return DiffusionServiceStatus(
        observed_generation=meta["generation"],
        conditions=conditions(
            verdicts,
            previous=previous.get("conditions") or (),
            generation=meta["generation"],
            now=now,
        ),
        replicas=live.get("replicas", 0),
        ready_replicas=live.get("readyReplicas", 0),
        selector=",".join(f"{label}={value}" for label, value in selector(service).items()),
        url=outside_url(spec.route)
        if spec is not None and spec.route is not None
        else url(meta["name"], meta["namespace"]),
        revision=_served_revision(deployment, pods) or previous.get("revision"),
        failed_revision=failed.revision if failed else None,
        precision=precision or (previous.get("precision") if deployment else None),
        last_failure=_last_failure(deployment, pods, previous),
    )


def has_settled(deployment: Mapping[str, Any], pods: Pods) -> bool:
    """Whether all its pods are there, and counted, and the scheduler has looked at them.

    Until then another status follows within moments.
    """
    counted = (deployment.get("status") or {}).get("replicas", 0)
    looked_at = pods.scheduled + pods.unscheduled
    return bool(deployment["spec"].get("replicas", 1) == counted == pods.current == looked_at)


def _warned(verdict: Verdict, misfit: str) -> Verdict:
    """What is otherwise said of a model that isn't loaded yet, where it can't fit its GPU."""
    if verdict.type != "ModelLoaded" or verdict.status != "Unknown":
        return verdict
    return replace(verdict, reason=MODEL_TOO_LARGE, message=misfit)


def _gated(verdict: Verdict, gate: Gate) -> Verdict:
    """What is otherwise said of Ready and Progressing, where a candidate is being tried."""
    if verdict.type == "Progressing":
        return Verdict("Progressing", "True", "Gating", gate.message)
    if verdict.type != "Ready" or verdict.status != "True":
        return verdict
    still = "the revision before it serves meanwhile"
    if gate.failure is None:
        return Verdict("Ready", "Unknown", "Gating", f"{gate.message}; {still}")
    failure = gate.failure
    message = f"{gate.message}: pod {failure.pod}: {failure.message}; {still}"
    return Verdict("Ready", "False", failure.reason, message)


def _rolled_back(verdict: Verdict, failed: Failed, pods: Pods) -> Verdict:
    """What is otherwise said of Ready and Progressing, where another revision serves."""
    if verdict.type == "Progressing":
        return replace(verdict, reason="RolledBack") if verdict.status == "False" else verdict
    if verdict.type != "Ready" or verdict.status == "False":
        return verdict
    message = (
        f"revision {failed.revision} did not take over ({failed.reason}: {failed.message}); the "
        f"last good one serves until the spec changes: {pods.ready} replicas answer"
    )
    return Verdict("Ready", "False", "RolledBack", message)


def _served_revision(deployment: Mapping[str, Any] | None, pods: Pods) -> str:
    """The wanted revision once a pod of it answers, else the one that still does."""
    wanted = revision_of(deployment) if deployment else ""
    if wanted in pods.ready_revisions:
        return wanted
    return min(pods.ready_revisions, default="")


def _last_failure(
    deployment: Mapping[str, Any] | None, pods: Pods, previous: Mapping[str, Any]
) -> Failure | None:
    failures = _told_failures(deployment, pods)
    if failures:
        return failures[-1]
    before = previous.get("lastFailure")
    known = [*([Failure.model_validate(before)] if before else ()), *pods.ended]
    return max(known, key=lambda failure: failure.time or "", default=None)


def _verdicts(
    spec: DiffusionServiceSpec | None,
    deployment: Mapping[str, Any] | None,
    pods: Pods,
    problem: Problem | None,
    *,
    takes_over: bool,
) -> list[Verdict]:
    if problem is not None or spec is None:
        found = problem or Problem("InvalidSpec", "the spec can't be read")
        still = f"; what was there before still serves: {pods.ready} replicas answer"
        message = f"{found.message}{still}" if pods.ready else found.message
        ready: Status = "Unknown" if found.passes else "False"
        moves: Status = "True" if found.passes else "False"
        until = "this has passed" if found.passes else "this is mended"
        return [
            Verdict("Ready", ready, found.reason, message),
            Verdict("Progressing", moves, found.reason, f"nothing moves until {until}"),
            _scheduled(pods),
            _model_loaded(pods),
            _stopped_meanwhile(spec, deployment, pods, found),
        ]
    wanted = asked_replicas(spec, deployment)
    return [
        _ready(spec, deployment, pods),
        _progressing(spec, wanted, deployment, pods, takes_over=takes_over),
        _scheduled(pods),
        _model_loaded(pods),
        _stopped(spec, pods),
    ]


def _rolled_out(wanted: int, deployment: Mapping[str, Any] | None, pods: Pods) -> bool:
    live = (deployment or {}).get("status") or {}
    generation = (deployment or {}).get("metadata", {}).get("generation", 0)
    return (
        live.get("observedGeneration", 0) >= generation
        and pods.ready >= wanted
        and live.get("updatedReplicas", 0) == wanted
        and live.get("replicas", 0) == wanted
        and live.get("availableReplicas", 0) == wanted
    )


def _idle(spec: DiffusionServiceSpec) -> Problem | None:
    """Why no pod is wanted, if none is."""
    if spec.suspend:
        return Problem("Suspended", "spec.suspend is true: nothing answers until it is false")
    if spec.replicas == 0 and spec.autoscaling is None:
        return Problem("ScaledToZero", "spec.replicas is 0: nothing answers")
    return None


def _stopped(spec: DiffusionServiceSpec, pods: Pods) -> Verdict:
    idle = _idle(spec)
    if idle is None:
        return Verdict("Stopped", "False", "Wanted", "pods are wanted")
    if pods.present:
        return Verdict("Stopped", "False", "Stopping", f"{pods.present} pods finish what they have")
    return Verdict("Stopped", "True", idle.reason, "no pod is left")


def _stopped_meanwhile(
    spec: DiffusionServiceSpec | None,
    deployment: Mapping[str, Any] | None,
    pods: Pods,
    problem: Problem,
) -> Verdict:
    """What is to be said of Stopped while a problem keeps the children as they are."""
    if spec is None:
        return Verdict("Stopped", "Unknown", problem.reason, "whether pods are wanted isn't known")
    if _idle(spec) is None:
        return _stopped(spec, pods)
    if pods.present:
        message = f"{pods.present} pods are there, which may not have been told to end"
        return Verdict("Stopped", "False", problem.reason, message)
    if deployment is not None and deployment["spec"].get("replicas", 1):
        message = "no pod is there, but what makes them may not have been told to make none"
        return Verdict("Stopped", "Unknown", problem.reason, message)
    return _stopped(spec, pods)


def _ready(spec: DiffusionServiceSpec, deployment: Mapping[str, Any] | None, pods: Pods) -> Verdict:
    idle = _idle(spec)
    if idle is not None:
        return Verdict("Ready", "False", idle.reason, idle.message)
    wanted = asked_replicas(spec, deployment)
    if _rolled_out(wanted, deployment, pods):
        return _serving(wanted, pods)
    trouble = _trouble(deployment, pods)
    if trouble is not None:
        return Verdict("Ready", "False", trouble.reason, trouble.message)
    if deployment is not None and is_kuberays(deployment) and is_unheard(deployment):
        return Verdict("Ready", "Unknown", "AwaitingKubeRay", _unheard(pods))
    message = f"{pods.ready} of {wanted} replicas of this revision answer"
    return Verdict("Ready", "Unknown", "RollingOut", message)


def _unheard(pods: Pods) -> str:
    message = "KubeRay has not acted on the RayService yet: does its operator run?"
    still = sorted(pods.ready_revisions)
    return f"{message} Until then revision {still[0]} serves" if still else message


def _serving(wanted: int, pods: Pods) -> Verdict:
    message = f"{pods.ready} of {wanted} replicas answer"
    if pods.head_ready is None:
        return Verdict("Ready", "True", "Serving", message)
    if pods.head_ready:
        message = f"{message}, all through one Ray head: while it is replaced, none does"
        return Verdict("Ready", "True", "Serving", message)
    lost = "the head of the Ray cluster is away: nothing answers until it and the workers are back"
    return Verdict("Ready", "False", "HeadLost", lost)


def _trouble(deployment: Mapping[str, Any] | None, pods: Pods) -> Problem | None:
    failures = _told_failures(deployment, pods)
    if failures:
        latest = failures[-1]
        still = (
            "; the previous revision still answers"
            if pods.ready_revisions and not pods.ready and not _lost_their_head(pods)
            else ""
        )
        return Problem(latest.reason, f"pod {latest.pod}: {latest.message}{still}")
    if deployment is None:
        return None
    refused = condition_of(deployment, "ReplicaFailure")
    if refused is not None and refused["status"] == "True":
        message = refused.get("message", "")
        return Problem("QuotaExceeded" if "quota" in message else "Forbidden", message)
    moving = condition_of(deployment, "Progressing")
    if moving is not None and moving.get("reason") == "ProgressDeadlineExceeded":
        return Problem("ProbeFailed", "no pod became ready in time: see kubectl logs of its pods")
    return None


def _told_failures(deployment: Mapping[str, Any] | None, pods: Pods) -> list[Failure]:
    """Without those of pods that wait for an old one to end, as the rollout goes."""
    waits = deployment is not None and is_in_place(deployment) and pods.older > 0
    return [found for found in pods.failures if not (waits and found.reason in _NO_ROOM)]


def _progressing(
    spec: DiffusionServiceSpec,
    wanted: int,
    deployment: Mapping[str, Any] | None,
    pods: Pods,
    *,
    takes_over: bool,
) -> Verdict:
    if _rolled_out(wanted, deployment, pods):
        return Verdict("Progressing", "False", "UpToDate", "every replica is of this revision")
    message = f"{pods.current} of {wanted} replicas are of this revision, {pods.ready} answer"
    if deployment is None or not (pods.older or takes_over):
        return Verdict("Progressing", "True", "RollingOut", message)
    reason, how = _way(spec, wanted, deployment, pods)
    return Verdict("Progressing", "True", reason, f"{message}; {how}")


def _way(
    spec: DiffusionServiceSpec, wanted: int, deployment: Mapping[str, Any], pods: Pods
) -> tuple[str, str]:
    """How one revision takes over from another, as a reason, and why so in a sentence."""
    if is_kuberays(deployment):
        return _kuberays_way(deployment)
    lacking = "there is no spare GPU" if spec.gpu else "there is no room for one more pod"
    if is_recreated(deployment):
        how = "nothing answers meanwhile, as workers can't join the Ray head of another revision"
        return DOWNTIME, how
    if _lost_their_head(pods):
        how = (
            "requests fail until every replica is of this revision, as the workers of the Ray "
            "cluster before it take none without its head"
        )
        return DOWNTIME, how
    if not is_in_place(deployment):
        surge = "each new replica answers before an old one ends"
        return "RollingOut", surge if pods.older else "no pod of an earlier revision is left"
    if wanted == 1:
        how = f"nothing answers meanwhile, as the only replica has to end first: {lacking}"
        return DOWNTIME, how
    return "RollingOutInPlace", f"one replica at a time ends before the next starts: {lacking}"


def _lost_their_head(pods: Pods) -> bool:
    """Whether older pods are a Ray cluster's workers, where no head is wanted any longer."""
    return pods.head_ready is None and pods.older_workers > 0


def _kuberays_way(deployment: Mapping[str, Any]) -> tuple[str, str]:
    if served_cluster(deployment):
        how = "KubeRay makes another Ray cluster beside the one that serves, which ends then"
        return "RollingOut", how
    return DOWNTIME, "nothing answers meanwhile, as KubeRay's Ray cluster is not there yet"


def _scheduled(pods: Pods) -> Verdict:
    if pods.current == 0:
        return Verdict("PodsScheduled", "Unknown", "NoPods", "no pod of this revision yet")
    if pods.unscheduled:
        message = f"there is no node for {pods.unscheduled} of {pods.current} pods"
        return Verdict("PodsScheduled", "False", "Unscheduled", message)
    if pods.scheduled < pods.current:
        return Verdict("PodsScheduled", "Unknown", "Scheduling", "the scheduler is choosing nodes")
    return Verdict("PodsScheduled", "True", "Scheduled", "every pod has a node")


def _model_loaded(pods: Pods) -> Verdict:
    failed = [found for found in pods.failures if found.reason in _MODEL_FAILURES]
    if pods.ready:
        return Verdict("ModelLoaded", "True", "Loaded", f"{pods.ready} replicas hold the model")
    if failed:
        return Verdict("ModelLoaded", "False", failed[-1].reason, failed[-1].message)
    return Verdict("ModelLoaded", "Unknown", "Loading", "no replica has said so yet")
