"""Kinds of third-party APIs, reduced to accepting the operator's objects."""

from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]


def _kind(name: str, group: str, version: str) -> Object:
    """A CustomResourceDefinition that takes any content."""
    singular = name.lower()
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{singular}s.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test's own"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": name, "plural": f"{singular}s", "singular": singular},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": anything},
                }
            ],
        },
    }


HTTP_ROUTES = _kind("HTTPRoute", "gateway.networking.k8s.io", "v1")
# KEDA's own, by which the API server checks each field.
SCALED_OBJECTS: Object = yaml.safe_load(
    (Path(__file__).parent / "keda_scaledobjects.yaml").read_text()
)
RAY_SERVICES = _kind("RayService", "ray.io", "v1")
RAY_CLUSTERS = _kind("RayCluster", "ray.io", "v1")
CUSTOM_METRICS: Object = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1beta1.custom.metrics.k8s.io"},
    "spec": {
        "group": "custom.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "custom-metrics", "namespace": "default"},
    },
}
