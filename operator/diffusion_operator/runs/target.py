"""Whether the target stayed what it was while it was tested."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from diffusion_operator.api.fields import Model
from diffusion_operator.objects import REVISION_LABEL, SERVICE_LABEL, Object, labels_of

SNAPSHOT = "diffusion.dev/target-at-begin"
# What has no time of its own counts as of the run if it is seen this soon after the run's end.
SEEN_SOON = timedelta(seconds=30)


class Disturbance(Model):
    """What happened to a target during a run."""

    reason: str
    message: str


class Snapshot(Model):
    """A target at one moment; pods are known by their uids."""

    uid: str
    revision: str
    replicas: int
    """As many as were asked for."""
    restarts: dict[str, int]
    image: str = ""

    def text(self) -> str:
        """As an annotation of the run's Job."""
        return self.model_dump_json(by_alias=True)


def replicas_of(service: Mapping[str, Any], deployment: Mapping[str, Any] | None) -> int:
    """How many pods are asked for; an autoscaler asks the Deployment, not the service."""
    asked = (deployment or {}).get("spec", {}).get("replicas")
    return int(asked if asked is not None else (service.get("status") or {}).get("replicas", 0))


def snapshot(
    service: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], replicas: int
) -> Snapshot:
    """The target as it is now."""
    serving = _serving(pods)
    status = service.get("status") or {}
    return Snapshot(
        uid=service["metadata"]["uid"],
        revision=status.get("revision", ""),
        replicas=replicas,
        restarts={pod["metadata"]["uid"]: _restarts(pod) for pod in serving},
        image=next(filter(None, map(_image, serving)), ""),
    )


def snapshot_of(job: Mapping[str, Any]) -> Snapshot | None:
    """The target as it was when the run of that Job began; nothing for a test of a URL."""
    text = (job["metadata"].get("annotations") or {}).get(SNAPSHOT)
    if text is None:
        return None
    try:
        return Snapshot.model_validate_json(text)
    except ValidationError:  # an operator of another version wrote it
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
    """What happened to the target since the run began, the most telling first.

    ``until`` is when the run ended, if it has. What came after doesn't count: a restart or a new
    pod tells its time, anything else is believed only if it's seen soon after the end.
    """
    name = service["metadata"]["name"] if service else ""
    soon = until is None or _time(now) - _time(until) <= SEEN_SOON
    if soon and _is_gone(service, before):
        return Disturbance(reason="TargetDeleted", message="the target was deleted during the run")
    if service is None:
        return None
    serving = [pod for pod in _serving(pods) if _is_within(pod["metadata"], until)]
    changed = [pod for pod in serving if _revision(pod) not in {before.revision, ""}]
    if changed or (soon and (service.get("status") or {}).get("revision", "") != before.revision):
        message = f"DiffusionService {name} changed its revision during the run"
        return Disturbance(reason="TargetChanged", message=message)
    if soon and replicas != before.replicas:
        message = f"DiffusionService {name} went from {before.replicas} replicas to {replicas}"
        return Disturbance(reason="TargetScaled", message=message)
    lost = set(before.restarts) - {pod["metadata"]["uid"] for pod in serving}
    if any(_has_restarted(pod, before, until) for pod in serving) or (soon and lost):
        message = f"a pod of DiffusionService {name} ended or started during the run"
        return Disturbance(reason="TargetRestarted", message=message)
    return None


def _is_gone(service: Mapping[str, Any] | None, before: Snapshot) -> bool:
    if service is None or service["metadata"].get("deletionTimestamp"):
        return True
    return bool(service["metadata"]["uid"] != before.uid)


def _serving(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pods of a service; a load test of the same name has its own beside them."""
    return [
        pod
        for pod in pods
        if SERVICE_LABEL in labels_of(pod) and not pod["metadata"].get("deletionTimestamp")
    ]


def _has_restarted(pod: Mapping[str, Any], before: Snapshot, until: str | None) -> bool:
    known = before.restarts.get(pod["metadata"]["uid"])
    if known is None:
        return True
    return _restarts(pod) > known and any(
        _is_within({"creationTimestamp": _ended(status)}, until) for status in _containers(pod)
    )


def _ended(status: Mapping[str, Any]) -> str | None:
    """When the container last ended."""
    for state in (status.get("lastState") or {}, status.get("state") or {}):
        ended = (state.get("terminated") or {}).get("finishedAt")
        if ended:
            return str(ended)
    return None


def _is_within(metadata: Mapping[str, Any], until: str | None) -> bool:
    """Whether it was there before the run's end; what tells no time was."""
    made = metadata.get("creationTimestamp")
    return until is None or made is None or _time(made) <= _time(until)


def _revision(pod: Mapping[str, Any]) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(int(status.get("restartCount", 0)) for status in _containers(pod))


def _image(pod: Mapping[str, Any]) -> str:
    """The serving image as the node knows it: with its digest."""
    statuses = _containers(pod)
    return str(statuses[0].get("imageID") or statuses[0].get("image") or "") if statuses else ""


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
