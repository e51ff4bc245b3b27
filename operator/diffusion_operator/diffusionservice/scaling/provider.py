"""Autoscaling provider: KEDA, an HPA, or the operator itself."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.kube.objects import SCALED_BY_ANNOTATION

Scaler = Literal["keda", "hpa", "own"]
KEDA_GROUP = "keda.sh"
METRICS_GROUP = "custom.metrics.k8s.io"


def scaler_of(spec: DiffusionServiceSpec, groups: Collection[str]) -> Scaler | None:
    """Best provider that the cluster's API groups allow; ``None`` where the spec sets the
    number.
    """
    if spec.autoscaling is None or spec.suspend:
        return None
    if KEDA_GROUP in groups:
        return "keda"
    return "hpa" if METRICS_GROUP in groups else "own"


def is_scaled_by(observed: Mapping[str, Any], scaler: Scaler) -> bool:
    """Whether the Deployment's replicas already belong to that provider."""
    annotations = observed["metadata"].get("annotations") or {}
    return bool(annotations.get(SCALED_BY_ANNOTATION) == scaler)


def desired_replicas(spec: DiffusionServiceSpec, current: int | None) -> int:
    """Desired replicas; an autoscaler has set ``current`` on the Deployment.

    The number is never below the autoscaler's minimum, even before it says so.
    """
    if spec.suspend:
        return 0
    if spec.autoscaling is None:
        return spec.replicas
    return max(int(current or 0), spec.autoscaling.min_replicas)
