"""Pod template of a service: the chart's defaults and ``spec.podTemplate`` in the built pod."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.diffusionservice.specs.server_container import CONTAINER, PORT
from diffusion_operator.kube.objects import Object
from diffusion_operator.kube.pod_template import (
    guard_labels,
    invalid,
    patched,
    placed_as,
    with_defaults,
)
from diffusion_operator.settings import PodDefaults


def with_pod_template(built: Object, defaults: PodDefaults, patch: Mapping[str, Any]) -> Object:
    """Pod template with the patch applied; the accelerator's own placement holds as well.

    Raises:
        SpecError: The patch would cut the pod off from its service.
    """
    merged = patched(with_defaults(built, defaults), patch)
    guard_labels(built, merged)
    pod = merged.get("spec") or {}
    servers = [each for each in pod.get("containers") or () if each["name"] == CONTAINER]
    if not servers:
        raise invalid(f"the patch removes container {CONTAINER!r}, which serves the model")
    ports = [(each.get("name"), each["containerPort"]) for each in servers[0].get("ports") or ()]
    if ("http", PORT) not in ports:
        raise invalid(f"container {CONTAINER!r} must keep its port {PORT} named http")
    if pod.get("restartPolicy", "Always") != "Always":
        raise invalid("restartPolicy must be Always: a server that exits is restarted")
    return placed_as(built["spec"], merged)
