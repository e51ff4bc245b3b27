"""GKE policies: the health check and the timeout of the load balancer behind a Gateway."""

import math
from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.api.fields import seconds
from diffusion_operator.diffusionservice.specs.grace import LONGEST_REQUEST_LIMIT
from diffusion_operator.diffusionservice.specs.server_container import PORT
from diffusion_operator.kube.metadata import child
from diffusion_operator.kube.objects import Object

API_VERSION = "networking.gke.io/v1"
HEALTH = "HealthCheckPolicy"
BACKEND = "GCPBackendPolicy"


def health_check_policy(owner: Mapping[str, Any]) -> Object:
    """HealthCheckPolicy: the load balancer asks for readiness.

    By default it asks for ``/`` and takes nothing but 200, whereas ``/`` redirects to ``/ui``.
    """
    check = {"requestPath": "/readyz", "portSpecification": "USE_FIXED_PORT", "port": PORT}
    config = {"type": "HTTP", "httpHealthCheck": check}
    return _policy(owner, HEALTH, {"config": config})


def backend_policy(owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> Object:
    """GCPBackendPolicy: an answer may take as long as the service lets it; by default 30 s."""
    longest = seconds(spec.queue.timeout) + LONGEST_REQUEST_LIMIT
    return _policy(owner, BACKEND, {"timeoutSec": math.ceil(longest)})


def _policy(owner: Mapping[str, Any], kind: str, default: dict[str, Any]) -> Object:
    name = owner["metadata"]["name"]
    target = {"group": "", "kind": "Service", "name": name}
    return child(owner, kind, name, spec={"default": default, "targetRef": target})
