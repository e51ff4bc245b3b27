"""The state of a DiffusionService, as its status reports it."""

from typing import Any

from kubectl import Kubectl, condition

Object = dict[str, Any]


def ready_reason(kubectl: Kubectl, name: str = "demo") -> str:
    ready = condition(kubectl.get("dsvc", name), "Ready")
    return str(ready.get("reason", ""))


def what_serves(kubectl: Kubectl) -> Object:
    """The part of the status that describes the pods."""
    service = kubectl.get("dsvc", "demo")
    names = ("replicas", "readyReplicas", "revision", "precision")
    loaded = condition(service, "ModelLoaded").get("status")
    return {**{name: service["status"].get(name) for name in names}, "loaded": loaded}
