"""Kubernetes Events: news of a status for people, once each."""

import hashlib
from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.observed import ObservedCondition, ObservedRun
from diffusion_operator.kube.objects import MANAGER, Object

_MESSAGE_LIMIT = 1024
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


def _event(owner: Mapping[str, Any], condition: ObservedCondition, run: str, now: str) -> Object:
    meta = owner["metadata"]
    about = [meta["uid"], meta["generation"], condition.reason, *([run] if run else [])]
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
        "type": "Normal" if condition.type == "Complete" else "Warning",
        "reason": condition.reason,
        "message": condition.message[:_MESSAGE_LIMIT],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
