"""Pod security: the ``restricted`` Pod Security Standard for every pod of this project."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.objects import Object
from diffusion_operator.settings import Resources

USER_ID = 65532  # the images' user

POD_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "seccompProfile": {"type": "RuntimeDefault"},
}

CONTAINER_SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

SCRATCH_VOLUME: Object = {"name": "tmp", "emptyDir": {}}
SCRATCH_MOUNT: Object = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a volume of its own


def resources(settings: Resources, extended: Mapping[str, str] | None = None) -> Object:
    """Resources of a container; the limit of an extended resource is its request, too."""
    limits = {**settings.limits, **(extended or {})}
    built: dict[str, Any] = {}
    if settings.requests:
        built["requests"] = dict(settings.requests)
    if limits:
        built["limits"] = limits
    return built
