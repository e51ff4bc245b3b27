"""Children of a DiffusionService beside its workload, Service and ServiceAccount."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.routing.external_route import route
from diffusion_operator.diffusionservice.specs.canary import canary_name, preview_name
from diffusion_operator.diffusionservice.specs.model_fetch import cache_claim, cache_claim_name
from diffusion_operator.diffusionservice.specs.network_policy import network_policy
from diffusion_operator.diffusionservice.specs.pod_disruption_budget import disruption_budget
from diffusion_operator.diffusionservice.specs.ray_cluster import former_head_name
from diffusion_operator.diffusionservice.specs.ray_service import KUBERAY_LOOKS
from diffusion_operator.kube.objects import Key, Object
from diffusion_operator.settings import Settings


def optional_children(
    owner: Mapping[str, Any],
    spec: DiffusionServiceSpec,
    settings: Settings,
    *,
    kuberay: bool = False,
) -> list[Object]:
    """Optional children that spec and settings ask for.

    With ``kuberay`` the pods are KubeRay's.
    """
    policy = settings.network_policy
    most_replicas = spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas
    claim = cache_claim(owner, spec)
    least = spec.replicas - 1 if kuberay else None
    more = [KUBERAY_LOOKS] if kuberay else []
    return [
        *([claim] if claim else []),
        *([disruption_budget(owner, least)] if most_replicas > 1 else []),
        *([route(owner, spec.route)] if spec.route else []),
        *([network_policy(owner, policy, more)] if policy else []),
    ]


def optional_keys(owner: Mapping[str, Any]) -> list[Key]:
    """Keys of all optional children; a child that is no longer desired is pruned."""
    namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
    return [
        Key("PersistentVolumeClaim", namespace, cache_claim_name(owner)),
        Key("RayService", namespace, name),
        # With KubeRay there is no Deployment.
        Key("Deployment", namespace, name),
        Key("Deployment", namespace, former_head_name(owner)),
        Key("Deployment", namespace, canary_name(owner)),
        Key("Service", namespace, preview_name(owner)),
        Key("Service", namespace, former_head_name(owner)),
        Key("PodDisruptionBudget", namespace, name),
        Key("Ingress", namespace, name),
        Key("HTTPRoute", namespace, name),
        Key("HealthCheckPolicy", namespace, name),
        Key("GCPBackendPolicy", namespace, name),
        Key("NetworkPolicy", namespace, name),
        Key("ScaledObject", namespace, name),
        Key("HorizontalPodAutoscaler", namespace, name),
    ]
