"""What every pod of this project has: the ``restricted`` Pod Security Standard, to the letter."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.objects import Object
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
    """A container's resources; an extended resource is a limit, and so its own request."""
    limits = {**settings.limits, **(extended or {})}
    found: dict[str, Any] = {}
    if settings.requests:
        found["requests"] = dict(settings.requests)
    if limits:
        found["limits"] = limits
    return found
