"""Server container: image, resources, probes, configuration."""

import math
from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.grace import (
    DRAIN_LIMIT_SECONDS,
    DRAIN_SECONDS,
    ENDPOINTS_SECONDS,
    grace_period,
)
from diffusion_operator.diffusionservice.specs.model_fetch import STORE_READ_ONLY
from diffusion_operator.diffusionservice.specs.model_size import stored_bytes
from diffusion_operator.diffusionservice.specs.model_sources import claim_mount, claims_of, fetches
from diffusion_operator.diffusionservice.specs.serving_config import (
    API_KEY_MOUNT,
    CREDENTIALS_MOUNT,
    serving_config,
)
from diffusion_operator.diffusionservice.specs.serving_image import serving_image
from diffusion_operator.kube.expansion import unexpanded
from diffusion_operator.kube.objects import REVISION_LABEL, Object
from diffusion_operator.kube.pod_security import CONTAINER_SECURITY, SCRATCH_MOUNT, resources
from diffusion_operator.settings import Accelerator, Resources, Settings

PORT = 8000
CONTAINER = "server"
API_KEY_VOLUME = "api-key"
CREDENTIALS_VOLUME = "content-credentials"
# Volume of Ray's object store, whose size the program limits to less.
SHARED_MEMORY: Object = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}}

# A start needs this beside reading the model: imports, device set-up, and warm-up images of each
# batch size, which take a minute or two on a CPU.
STARTUP_SECONDS = 900
# Google's standard disk of 100 GB gives 12 MB/s to all its readers.
READ_BYTES_PER_SECOND = 10_000_000
# A model of unknown size counts as three gigabytes; `podTemplate` can extend this.
UNKNOWN_READ_SECONDS = 300
# torch.compile may take as long again as such a start, or twice.
COMPILE_SECONDS = {"none": 0, "regional": 1200, "full": 2400}


def startup_seconds(spec: DiffusionServiceSpec) -> int:
    """Seconds within which the server has to be ready."""
    size = stored_bytes(spec)
    reading = UNKNOWN_READ_SECONDS if size is None else math.ceil(size / READ_BYTES_PER_SECOND)
    return STARTUP_SECONDS + reading + COMPILE_SECONDS[spec.compile]


def claim_volume_name(claims: list[str], claim: str) -> str:
    """Name of the volume for a model's claim."""
    place = claims.index(claim)
    return "model" if place == 0 else f"model-{place}"


def server(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    settings: Settings,
    accelerator: Accelerator | None,
) -> Object:
    """Container of the server.

    Raises:
        SpecError: The spec can't be built.
    """
    config = serving_config(spec, accelerator).model_dump_json(by_alias=True)
    revision = {
        "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{REVISION_LABEL}']"}
    }
    return {
        "name": CONTAINER,
        "image": serving_image(spec, settings),
        "imagePullPolicy": settings.images.pull_policy,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": [
            {"name": "DIFFUSION_SERVING_CONFIG", "value": unexpanded(config)},
            {"name": "DIFFUSION_SERVICE", "value": owner["metadata"]["name"]},
            {"name": "DIFFUSION_REVISION", "valueFrom": revision},
            {"name": "DIFFUSION_DRAIN_SECONDS", "value": str(DRAIN_SECONDS)},
            {"name": "DIFFUSION_DRAIN_LIMIT_SECONDS", "value": str(DRAIN_LIMIT_SECONDS)},
            {
                "name": "DIFFUSION_GRACE_SECONDS",
                "value": str(grace_period(spec, accelerator).server),
            },
        ],
        "resources": _resources(spec, settings, accelerator),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [SCRATCH_MOUNT, *_mounts(spec)],
        "startupProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 1,
            "failureThreshold": startup_seconds(spec),
            "timeoutSeconds": 5,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": ENDPOINTS_SECONDS}}},
    }


def server_image(pod: Mapping[str, Any]) -> str | None:
    """Image of a pod's server; ``None`` for a pod without one."""
    containers = pod["spec"].get("containers") or ()
    return next((each.get("image") for each in containers if each["name"] == CONTAINER), None)


def _resources(
    spec: DiffusionServiceSpec, settings: Settings, accelerator: Accelerator | None
) -> Object:
    own = settings.backend_resources.get(spec.backend, Resources())
    base = settings.server_resources
    merged = Resources(
        requests={**base.requests, **own.requests}, limits={**base.limits, **own.limits}
    )
    if accelerator is None or spec.gpu is None:
        return resources(merged)
    if accelerator.resource_name is None:
        return {**resources(merged), "claims": [{"name": name} for name in gpu_claims(spec)]}
    return resources(merged, {accelerator.resource_name: str(spec.gpu.count)})


def gpu_claims(spec: DiffusionServiceSpec) -> list[str]:
    """Names of the pod's resource claims, one for each GPU."""
    return [f"gpu-{number}" for number in range(spec.gpu.count if spec.gpu else 0)]


def _mounts(spec: DiffusionServiceSpec) -> list[Object]:
    claims = claims_of(spec)
    mounts: list[Object] = [
        {
            "name": claim_volume_name(claims, claim),
            "mountPath": claim_mount(claims, claim),
            "readOnly": True,
        }
        for claim in claims
    ]
    if fetches(spec):
        mounts.append(STORE_READ_ONLY)
    if spec.auth:
        mounts.append({"name": API_KEY_VOLUME, "mountPath": API_KEY_MOUNT, "readOnly": True})
    if spec.provenance.content_credentials:
        mounts.append(
            {"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_MOUNT, "readOnly": True}
        )
    if spec.backend == "rayserve":
        mounts.append({"name": SHARED_MEMORY["name"], "mountPath": "/dev/shm"})  # noqa: S108 - a volume of its own
    return mounts
