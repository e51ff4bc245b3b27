"""Who decides how many replicas there are."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.objects import SCALED_BY_ANNOTATION

Scaler = Literal["keda", "hpa", "own"]
KEDA_GROUP = "keda.sh"
METRICS_GROUP = "custom.metrics.k8s.io"


def scaler_of(spec: DiffusionServiceSpec, groups: Collection[str]) -> Scaler | None:
    """The best of those that the cluster's API groups offer; none where the spec says a number."""
    if spec.autoscaling is None or spec.suspend:
        return None
    if KEDA_GROUP in groups:
        return "keda"
    return "hpa" if METRICS_GROUP in groups else "own"


def is_scaled_by(live: Mapping[str, Any], scaler: Scaler) -> bool:
    """Whether the live Deployment's replicas have been left to that one."""
    annotations = live["metadata"].get("annotations") or {}
    return bool(annotations.get(SCALED_BY_ANNOTATION) == scaler)


def asked_replicas(spec: DiffusionServiceSpec, live: Mapping[str, Any] | None) -> int:
    """How many replicas are to be there now; an autoscaler asks the Deployment.

    It never wants fewer than its bound, though it may not have come to say so yet.
    """
    if spec.suspend:
        return 0
    if spec.autoscaling is None:
        return spec.replicas
    asked = (live or {}).get("spec", {}).get("replicas")
    return max(int(asked or 0), spec.autoscaling.min_replicas)
