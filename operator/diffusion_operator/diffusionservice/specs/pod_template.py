"""Pod template overrides: ``spec.podTemplate`` merged into the built pod."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.diffusionservice.specs.server_container import CONTAINER, PORT
from diffusion_operator.kube.objects import Object
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.kube.strategic_merge import strategic_merge


def with_pod_template(built: Object, patch: Mapping[str, Any]) -> Object:
    """Pod template with the patch applied.

    Raises:
        SpecError: The patch would cut the pod off from its service.
    """
    merged = strategic_merge(built, patch)
    labels = (merged.get("metadata") or {}).get("labels") or {}
    if any(labels.get(name) != value for name, value in built["metadata"]["labels"].items()):
        raise _refused("the patch changes labels of the pods' selector: leave those out")
    pod = merged.get("spec") or {}
    servers = [each for each in pod.get("containers") or () if each["name"] == CONTAINER]
    if not servers:
        raise _refused(f"the patch removes container {CONTAINER!r}, which serves the model")
    ports = [(each.get("name"), each["containerPort"]) for each in servers[0].get("ports") or ()]
    if ("http", PORT) not in ports:
        raise _refused(f"container {CONTAINER!r} must keep its port {PORT} named http")
    if pod.get("restartPolicy", "Always") != "Always":
        raise _refused("restartPolicy must be Always: a server that exits is restarted")
    return merged


def _refused(why: str) -> SpecError:
    return SpecError("InvalidPodTemplate", f"podTemplate can't be used: {why}")
