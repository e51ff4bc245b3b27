"""Target of a run: its snapshot, and disturbances during the run."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from diffusion_operator.api.fields import Model
from diffusion_operator.api.observed import ObservedService
from diffusion_operator.kube.objects import REVISION_LABEL, SERVICE_LABEL, Object, labels_of

SNAPSHOT = "diffusion.dev/target-at-begin"
GONE = "TargetDeleted"
# An event without a timestamp counts as part of the run this long after its end.
SEEN_SOON = timedelta(seconds=30)


class Disturbance(Model):
    """Disturbance of a target during a run."""

    reason: str
    message: str


class Snapshot(Model):
    """Snapshot of a target; uids identify its pods."""

    uid: str
    revision: str
    replicas: int
    """Number of desired replicas."""
    restarts: dict[str, int]
    image: str = ""
    autoscaling: str | None = None
    """Its ``spec.autoscaling`` as text, empty without one; ``None`` of an older operator."""

    def text(self) -> str:
        """Text for the annotation of the run's Job."""
        return self.model_dump_json(by_alias=True)


def replicas_of(service: Mapping[str, Any], deployment: Mapping[str, Any] | None) -> int:
    """Desired replicas; an autoscaler sets them on the Deployment, not the service."""
    desired = (deployment or {}).get("spec", {}).get("replicas")
    return int(desired if desired is not None else ObservedService.of(service).replicas)


def autoscaling_of(service: Mapping[str, Any]) -> str:
    """Text of ``spec.autoscaling`` that is equal for equal settings; empty without one."""
    settings = service["spec"].get("autoscaling")
    return json.dumps(settings, sort_keys=True) if settings else ""


def snapshot(
    service: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], replicas: int
) -> Snapshot:
    """Snapshot of the current target."""
    serving = _serving(pods)
    return Snapshot(
        uid=service["metadata"]["uid"],
        revision=ObservedService.of(service).revision or "",
        replicas=replicas,
        restarts={pod["metadata"]["uid"]: _restarts(pod) for pod in serving},
        image=next(filter(None, map(_image, serving)), ""),
        autoscaling=autoscaling_of(service),
    )


def snapshot_of(job: Mapping[str, Any]) -> Snapshot | None:
    """Snapshot at the begin of that Job's run; ``None`` for a test of a URL."""
    text = (job["metadata"].get("annotations") or {}).get(SNAPSHOT)
    if text is None:
        return None
    try:
        return Snapshot.model_validate_json(text, extra="ignore")
    except ValidationError:  # another version of the operator wrote it
        return None


def disturbance(
    before: Snapshot,
    service: Mapping[str, Any] | None,
    pods: Iterable[Object],
    replicas: int,
    *,
    until: str | None,
    now: str,
) -> Disturbance | None:
    """Disturbance since the run's begin, the most significant one first.

    ``until`` is the end of the run. Later events don't count: a restart or a new pod has a
    timestamp, any other change counts only shortly after the end.
    """
    name = service["metadata"]["name"] if service else ""
    soon = until is None or _time(now) - _time(until) <= SEEN_SOON
    if soon and _is_gone(service, before):
        return Disturbance(reason=GONE, message="the target was deleted during the run")
    if service is None:
        return None
    serving = [pod for pod in _serving(pods) if _is_within(pod["metadata"], until)]
    changed = [pod for pod in serving if _revision(pod) not in {before.revision, ""}]
    revision = ObservedService.of(service).revision or ""
    if changed or (soon and revision != before.revision):
        message = f"DiffusionService {name} changed its revision during the run"
        return Disturbance(reason="TargetChanged", message=message)
    if soon and (scaled := _scaling_by_others(before, service, replicas)) is not None:
        message = f"DiffusionService {name} {scaled} during the run"
        return Disturbance(reason="TargetScaled", message=message)
    lost = set(before.restarts) - {pod["metadata"]["uid"] for pod in serving}
    may_scale = _may_scale(service)
    if any(_has_restarted(pod, before, until, may_scale=may_scale) for pod in serving) or (
        soon and lost and not may_scale
    ):
        message = f"a pod of DiffusionService {name} terminated or started during the run"
        return Disturbance(reason="TargetRestarted", message=message)
    return None


def _is_gone(service: Mapping[str, Any] | None, before: Snapshot) -> bool:
    if service is None or service["metadata"].get("deletionTimestamp"):
        return True
    return bool(service["metadata"]["uid"] != before.uid)


def _scaling_by_others(before: Snapshot, service: Mapping[str, Any], replicas: int) -> str | None:
    """Clause about a change of the replicas that isn't the service's own autoscaling."""
    if before.autoscaling is not None and before.autoscaling != autoscaling_of(service):
        return "changed its autoscaling"
    bounds = service["spec"].get("autoscaling")
    if bounds and bounds.get("minReplicas", 1) <= replicas <= bounds["maxReplicas"]:
        return None
    if replicas == before.replicas:
        return None
    return f"went from {before.replicas} replicas to {replicas}"


def _may_scale(service: Mapping[str, Any]) -> bool:
    """Whether an autoscaler may add and remove pods of the service."""
    bounds = service["spec"].get("autoscaling")
    return bool(bounds) and bounds.get("minReplicas", 1) < bounds["maxReplicas"]


def _serving(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Pods of the service, without those of a LoadTest of the same name."""
    return [
        pod
        for pod in pods
        if SERVICE_LABEL in labels_of(pod) and not pod["metadata"].get("deletionTimestamp")
    ]


def _has_restarted(
    pod: Mapping[str, Any], before: Snapshot, until: str | None, *, may_scale: bool
) -> bool:
    """Whether a container of the pod restarted, or the pod is new and no autoscaler added it."""
    known = before.restarts.get(pod["metadata"]["uid"])
    if known is None and not may_scale:
        return True
    known = known or 0
    return _restarts(pod) > known and any(
        _is_within({"creationTimestamp": _ended(status)}, until) for status in _containers(pod)
    )


def _ended(status: Mapping[str, Any]) -> str | None:
    """Time of the container's last termination."""
    for state in (status.get("lastState") or {}, status.get("state") or {}):
        ended = (state.get("terminated") or {}).get("finishedAt")
        if ended:
            return str(ended)
    return None


def _is_within(metadata: Mapping[str, Any], until: str | None) -> bool:
    """Whether it existed before the run's end; one without a timestamp counts."""
    made = metadata.get("creationTimestamp")
    return until is None or made is None or _time(made) <= _time(until)


def _revision(pod: Mapping[str, Any]) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(int(status.get("restartCount", 0)) for status in _containers(pod))


def _image(pod: Mapping[str, Any]) -> str:
    """Serving image with its digest, as the node reports it."""
    statuses = _containers(pod)
    return str(statuses[0].get("imageID") or statuses[0].get("image") or "") if statuses else ""


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
