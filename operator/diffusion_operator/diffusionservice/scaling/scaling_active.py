"""ScalingActive: whether the autoscaling provider gets what it scales by."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.conditions import Status, Verdict, condition_of

# Conditions of a ScaledObject and of an HPA that are False where they get no metric.
_WORKING = {"ScaledObject": "Ready", "HorizontalPodAutoscaler": "ScalingActive"}
# The Deployment has no replicas, which is no fault of the metric.
_DISABLED = "ScalingDisabled"


def autoscaler_verdict(observed: Mapping[str, Any] | None, kind: str) -> Verdict:
    """Verdict by the autoscaler's own status."""
    condition = condition_of(observed, _WORKING[kind]) if observed is not None else None
    if condition is None:
        return _verdict("Unknown", "NotReported", f"the {kind} reports nothing yet")
    if condition.is_true:
        return _verdict("True", condition.reason or "Scaling", f"the {kind} gets its metric")
    message = f"the {kind} sets no replicas: {condition.message}"
    status: Status = "Unknown" if condition.reason == _DISABLED else "False"
    return _verdict(status, condition.reason or "NoMetric", message)


def own_verdict(*, blind: bool) -> Verdict:
    """Verdict by the operator's own look at the pods."""
    if not blind:
        return _verdict("True", "Scaling", "the operator reads the metrics of the pods")
    message = (
        "no pod answers the operator at /metrics, so the replicas stay as they are: admit the "
        "operator to port 8000 of the pods (a NetworkPolicy, a mesh?)"
    )
    return _verdict("False", "PodsUnreachable", message)


def _verdict(status: Status, reason: str, message: str) -> Verdict:
    return Verdict("ScalingActive", status, reason if reason.isalnum() else "NoMetric", message)
