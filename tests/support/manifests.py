"""Manifests that the tests apply and change."""

from typing import Any

Object = dict[str, Any]
API_VERSION = "diffusion.dev/v1alpha1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Labels of a namespace that admits restricted pods only."""


def diffusion_service(name: str = "demo", **spec: Any) -> Object:
    """A DiffusionService with the demo model on a CPU."""
    return {
        "apiVersion": API_VERSION,
        "kind": "DiffusionService",
        "metadata": {"name": name},
        "spec": {
            "backend": "fastapi",
            "model": {"source": "image:///models/demo"},
            "generation": {"steps": 4, "guidanceScale": "2", "scheduler": "ddim"},
            **spec,
        },
    }


def load_test(name: str = "ramp", target: str = "demo", **spec: Any) -> Object:
    """A LoadTest of two users for five seconds."""
    return {
        "apiVersion": API_VERSION,
        "kind": "LoadTest",
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"name": target},
            "users": {"stages": [{"users": 2, "duration": "5s"}], "spawnRate": "2"},
            **spec,
        },
    }


def config_map(name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
