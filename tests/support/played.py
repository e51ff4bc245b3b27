"""A service's children, and the kubelet's part, which tests without a kubelet play."""

from typing import Any

from kubectl import Kubectl, condition, eventually

Object = dict[str, Any]

CHILDREN = ("serviceaccount", "deployment", "service")


def children(kubectl: Kubectl, name: str = "demo") -> list[Object] | None:
    """All children of the service, once all are there."""
    objects = [kubectl.find(kind, name) for kind in CHILDREN]
    return [child for child in objects if child] if all(objects) else None


def make_pods_ready(kubectl: Kubectl, name: str = "demo") -> None:
    """Plays the kubelet: makes every pod of the service Ready, and waits for the service."""
    ready = {"conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")]}

    def all_ready() -> bool:
        pods = kubectl.list("pods", f"diffusion.dev/service={name}")
        for pod in pods:
            if condition(pod, "Ready").get("status") != "True":
                status = {"status": {**ready, "phase": "Running"}}
                kubectl.patch("pod", pod["metadata"]["name"], status, "--subresource=status")
        service = kubectl.get("dsvc", name)
        current = condition(service, "Ready")
        return (
            current.get("status") == "True"
            and current["observedGeneration"] == service["metadata"]["generation"]
        )

    eventually(all_ready, what=f"{name} to be Ready")


def have_ready(kubectl: Kubectl, service: Object) -> None:
    """Applies the service, and plays the kubelet until the service is Ready."""
    name = service["metadata"]["name"]
    kubectl.apply(service)
    eventually(lambda: children(kubectl, name), what="the children")
    make_pods_ready(kubectl, name)
