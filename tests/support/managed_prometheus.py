"""Kinds of Google's Managed Prometheus, with the fields that its operator reads.

The source is github.com/GoogleCloudPlatform/prometheus-engine, pkg/operator/apis/monitoring/v1
(pod_types.go, 2026-07-02). Of a ServiceMonitor or a PodMonitor it reads nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubectl import Kubectl

GROUP = "monitoring.googleapis.com"
KINDS = {"PodMonitoring": "Namespaced", "ClusterPodMonitoring": "Cluster"}

_FIELDS = {
    "": {"selector", "endpoints", "targetLabels", "limits", "filterRunning"},
    "endpoints": {
        "port",
        "scheme",
        "path",
        "params",
        "interval",
        "timeout",
        "metricRelabeling",
    },
    "targetLabels": {"metadata", "fromPod"},
    "fromPod": {"from", "to"},
}


def unknown_fields(spec: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yields each field of a monitor's spec that Managed Prometheus doesn't have."""
    known = _FIELDS[above]
    for name, value in spec.items():
        if name not in known:
            yield f"{above}.{name}"
        for each in value if isinstance(value, list) else [value]:
            if name in _FIELDS and isinstance(each, dict):
                yield from unknown_fields(each, name)


@contextmanager
def served(kubectl: Kubectl) -> Iterator[None]:
    """Lets the cluster have the kinds meanwhile, as GKE does."""
    made = _definitions()
    names = [each["metadata"]["name"] for each in made]
    for definition, name in zip(made, names, strict=True):
        kubectl.apply(definition)
        kubectl("wait", "--for=condition=Established", f"customresourcedefinition/{name}")
    try:
        yield
    finally:
        for name in names:
            kubectl.delete("customresourcedefinition", name)


def _definitions() -> list[dict[str, Any]]:
    """A CustomResourceDefinition of each kind, which accepts any field."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    made = []
    for kind, scope in KINDS.items():
        plural = f"{kind.lower()}s"
        version = {"name": "v1", "served": True, "storage": True}
        schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything}}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower()}
        made.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{GROUP}"},
                "spec": {
                    "group": GROUP,
                    "scope": scope,
                    "names": names,
                    "versions": [version | {"schema": schema}],
                },
            }
        )
    return made
