"""Kubernetes Events: what a person would want to be told, once each."""

import hashlib
from collections.abc import Mapping
from typing import Any

from diffusion_operator.objects import MANAGER, Object

_MESSAGE_LIMIT = 1024
# What someone asked for is no news to them.
_WANTED = {"Suspended", "ScaledToZero"}


def warning(owner: Mapping[str, Any], status: Mapping[str, Any], now: str) -> Object | None:
    """The Event about a service that has become not Ready for a new reason, if it has.

    Its name is made of the reason and the generation, so that it can be made but once.
    """
    ready = _ready(status)
    if ready is None or ready["status"] != "False" or ready["reason"] in _WANTED:
        return None
    before = _ready(owner.get("status") or {})
    if before is not None and (before["status"], before["reason"]) == ("False", ready["reason"]):
        return None
    meta = owner["metadata"]
    about = [meta["uid"], meta["generation"], ready["reason"]]
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
        "reason": ready["reason"],
        "message": ready["message"][:_MESSAGE_LIMIT],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _ready(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = status.get("conditions") or ()
    return next((found for found in conditions if found["type"] == "Ready"), None)
