"""The children that only some services have."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.disruption_budget import disruption_budget
from diffusion_operator.build.fetch import cache_claim, cache_claim_name
from diffusion_operator.build.ray_cluster import head_name, head_service, is_cluster
from diffusion_operator.objects import Key, Object


def optional_children(owner: Mapping[str, Any], spec: DiffusionServiceSpec) -> list[Object]:
    """Those that the spec asks for."""
    claim = cache_claim(owner, spec)
    return [
        *([claim] if claim else []),
        *([head_service(owner)] if is_cluster(spec) else []),
        *([disruption_budget(owner)] if spec.replicas > 1 else []),
    ]


def optional_keys(owner: Mapping[str, Any]) -> list[Key]:
    """All that a service may have, and that goes when its spec asks for it no longer."""
    namespace = owner["metadata"]["namespace"]
    return [
        Key("PersistentVolumeClaim", namespace, cache_claim_name(owner)),
        Key("Deployment", namespace, head_name(owner)),
        Key("Service", namespace, head_name(owner)),
        Key("PodDisruptionBudget", namespace, owner["metadata"]["name"]),
    ]
