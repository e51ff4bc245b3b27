"""Autoscaling provider: KEDA, an HPA, or the operator itself."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.kube.objects import SCALED_BY_ANNOTATION

Scaler = Literal["keda", "hpa", "own"]
KEDA_GROUP = "keda.sh"
METRICS_GROUP = "custom.metrics.k8s.io"


CHOSEN: Mapping[str, Scaler] = {"KEDA": "keda", "HPA": "hpa", "Operator": "own"}


def scaler_of(
    spec: DiffusionServiceSpec, groups: Collection[str], existing: Scaler | None = None
) -> Scaler | None:
    """Provider that the spec chooses, or the best one that the cluster's API groups allow.

    ``None`` stands for a number that the spec sets. An ``existing`` autoscaler stays while its
    group is missing, as a starting API server or a restarted adapter omits it for a moment.
    """
    if spec.autoscaling is None or spec.suspend:
        return None
    if spec.autoscaling.provider != "Auto":
        return CHOSEN[spec.autoscaling.provider]
    if KEDA_GROUP in groups or existing == "keda":
        return "keda"
    return "hpa" if METRICS_GROUP in groups or existing == "hpa" else "own"


def is_scaled_by(observed: Mapping[str, Any], scaler: Scaler) -> bool:
    """Whether the Deployment's replicas already belong to that provider."""
    annotations = observed["metadata"].get("annotations") or {}
    return bool(annotations.get(SCALED_BY_ANNOTATION) == scaler)
