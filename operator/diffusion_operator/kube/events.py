"""Kubernetes Events: news of a status for people, once each."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.api.observed import ObservedCondition, ObservedRun
from diffusion_operator.kube.objects import MANAGER, Object

_MESSAGE_LIMIT = 1024
# Reason of the Event on an object that another release of the operator reconciles.
LEFT_ALONE = "LeftToOtherRelease"
# Reason of Progressing while nothing answers during a rollout.
DOWNTIME = "RollingOutWithDowntime"
# Reason of ModelLoaded for a model that can't fit its GPU, before any attempt.
MODEL_TOO_LARGE = "ModelTooLarge"
# A user who stopped the service needs no warning.
_INTENDED = {"Suspended", "ScaledToZero"}


def news(owner: Mapping[str, Any], status: ObservedRun, now: str) -> list[Object]:
    """Events for what is new in the status: a failure, a downtime, the end of a run.

    Reason, generation and run make an Event's name, so that each is created once.
    """
    before = ObservedRun.of(owner)
    return [
        _event(owner, condition, status.run, now)
        for kind in ("Ready", "Progressing", "ModelLoaded", "Complete", "Failed", "Valid")
        if (condition := status.condition(kind)) is not None
        and _is_news(condition)
        and not (_same(condition, before.condition(kind)) and status.run == before.run)
    ]


def _is_news(condition: ObservedCondition) -> bool:
    match condition.type:
        case "Ready":
            return condition.is_false and condition.reason not in _INTENDED
        case "Complete" | "Failed":
            return condition.is_true
        case "Valid":
            return condition.is_false
    return condition.reason in {DOWNTIME, MODEL_TOO_LARGE}


def _same(one: ObservedCondition, other: ObservedCondition | None) -> bool:
    return other is not None and (one.status, one.reason) == (other.status, other.reason)


def left_alone(owner: Mapping[str, Any], holder: str, now: str) -> Object:
    """Event that names the release of the operator which reconciles an object instead."""
    content = {
        "type": "Normal",
        "reason": LEFT_ALONE,
        "message": f"release {holder} of the operator reconciles this object, and the other "
        "release that watches its namespace leaves it alone: uninstall one of them, or set "
        "watchNamespaces of each",
    }
    return _about(owner, [owner["metadata"]["uid"], LEFT_ALONE, holder], content, now)


def _event(owner: Mapping[str, Any], condition: ObservedCondition, run: str, now: str) -> Object:
    meta = owner["metadata"]
    about = [meta["uid"], meta["generation"], condition.reason, *([run] if run else [])]
    return _about(
        owner,
        about,
        {
            "type": "Normal" if condition.type == "Complete" else "Warning",
            "reason": condition.reason,
            "message": condition.message[:_MESSAGE_LIMIT],
        },
        now,
    )


def _about(
    owner: Mapping[str, Any], about: Sequence[Any], content: Mapping[str, str], now: str
) -> Object:
    """Event about an object; what it is about makes its name, so that it is created once."""
    meta = owner["metadata"]
    digest = hashlib.sha256(repr(about).encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{digest}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            **{field: meta[field] for field in ("name", "namespace", "uid")},
        },
        **content,
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
