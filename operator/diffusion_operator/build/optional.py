"""The children that only some services have."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build.candidate import candidate_name, preview_name
from diffusion_operator.build.disruption_budget import disruption_budget
from diffusion_operator.build.fetch import cache_claim, cache_claim_name
from diffusion_operator.build.network_policy import network_policy
from diffusion_operator.build.ray_cluster import head_name, head_service, is_cluster
from diffusion_operator.build.ray_service import KUBERAY_LOOKS
from diffusion_operator.build.route import route
from diffusion_operator.objects import Key, Object
from diffusion_operator.settings import Settings


def optional_children(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    settings: Settings,
    *,
    kuberay: bool = False,
) -> list[Object]:
    """Those that the spec and the settings ask for; ``kuberay``: KubeRay makes the pods."""
    policy = settings.network_policy
    most_replicas = spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas
    claim = cache_claim(owner, spec)
    least = spec.replicas - 1 if kuberay else None
    more = [KUBERAY_LOOKS] if kuberay else []
    return [
        *([claim] if claim else []),
        *([head_service(owner)] if is_cluster(spec) and not kuberay else []),
        *([disruption_budget(owner, least)] if most_replicas > 1 else []),
        *([route(owner, spec.route)] if spec.route else []),
        *([network_policy(owner, policy, more)] if policy else []),
    ]


def optional_keys(owner: Mapping[str, Any]) -> list[Key]:
    """All that a service may have, and that goes when its spec asks for it no longer."""
    namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
    return [
        Key("PersistentVolumeClaim", namespace, cache_claim_name(owner)),
        Key("RayService", namespace, name),
        # KubeRay has pods without one.
        Key("Deployment", namespace, name),
        Key("Deployment", namespace, head_name(owner)),
        Key("Deployment", namespace, candidate_name(owner)),
        Key("Service", namespace, preview_name(owner)),
        Key("Service", namespace, head_name(owner)),
        Key("PodDisruptionBudget", namespace, name),
        Key("Ingress", namespace, name),
        Key("HTTPRoute", namespace, name),
        Key("NetworkPolicy", namespace, name),
        Key("ScaledObject", namespace, name),
        Key("HorizontalPodAutoscaler", namespace, name),
    ]
