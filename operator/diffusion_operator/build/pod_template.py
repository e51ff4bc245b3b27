"""``spec.podTemplate`` over the built pod, and what it may not touch."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.build import BuildError
from diffusion_operator.build.server import CONTAINER, PORT
from diffusion_operator.build.strategic_merge import strategic_merge
from diffusion_operator.objects import Object


def with_pod_template(built: Object, patch: Mapping[str, Any]) -> Object:
    """The pod template as the patch changes it.

    Raises ``BuildError`` for a change that would cut the pod off from its service.
    """
    merged = strategic_merge(built, patch)
    labels = (merged.get("metadata") or {}).get("labels") or {}
    if any(labels.get(name) != value for name, value in built["metadata"]["labels"].items()):
        raise _refused("it changes labels by which the pods are found: leave those out")
    pod = merged.get("spec") or {}
    servers = [found for found in pod.get("containers") or () if found["name"] == CONTAINER]
    if not servers:
        raise _refused(f"it takes the container {CONTAINER!r} away, which serves the model")
    ports = [(found.get("name"), found["containerPort"]) for found in servers[0].get("ports") or ()]
    if ("http", PORT) not in ports:
        raise _refused(f"container {CONTAINER!r} must keep its port {PORT} named http")
    if pod.get("restartPolicy", "Always") != "Always":
        raise _refused("restartPolicy must be Always: a server that ends is started again")
    return merged


def _refused(why: str) -> BuildError:
    return BuildError("InvalidPodTemplate", f"podTemplate can't be used: {why}")
