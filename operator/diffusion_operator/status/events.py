"""Kubernetes Events: what a person would want to be told, once each."""

import hashlib
from collections.abc import Mapping
from typing import Any

from diffusion_operator.objects import MANAGER, Object

_MESSAGE_LIMIT = 1024
# The reason of Progressing while nothing answers, by the way that a rollout has to go.
DOWNTIME = "RollingOutWithDowntime"
# The reason of ModelLoaded where the model can't fit its GPU, told before it is tried.
MODEL_TOO_LARGE = "ModelTooLarge"
# What someone asked for is no news to them.
_WANTED = {"Suspended", "ScaledToZero"}


def warnings(owner: Mapping[str, Any], status: Mapping[str, Any], now: str) -> list[Object]:
    """The Events about what the status newly tells: trouble, downtime, a model too large.

    Their names are made of the reason and the generation, so that each can be made but once.
    """
    before = owner.get("status") or {}
    return [
        _event(owner, found, now)
        for kind in ("Ready", "Progressing", "ModelLoaded")
        if _is_news(found := _said(status, kind)) and not _same(found, _said(before, kind))
    ]


def _is_news(condition: Mapping[str, Any]) -> bool:
    if condition.get("type") == "Ready":
        return condition["status"] == "False" and condition["reason"] not in _WANTED
    return condition.get("reason") in {DOWNTIME, MODEL_TOO_LARGE}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(field) == other.get(field) for field in ("status", "reason"))


def _event(owner: Mapping[str, Any], condition: Mapping[str, Any], now: str) -> Object:
    meta = owner["metadata"]
    about = [meta["uid"], meta["generation"], condition["reason"]]
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
        "type": "Warning",
        "reason": condition["reason"],
        "message": condition["message"][:_MESSAGE_LIMIT],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _said(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((found for found in conditions if found["type"] == kind), {})
