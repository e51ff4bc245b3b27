"""A service, a load test and settings to build from."""

from typing import Any

import pytest

from diffusion_operator.settings import Settings
from service_scene import Scene

Object = dict[str, Any]


@pytest.fixture
def settings() -> Settings:
    return Settings.model_validate(
        {
            "images": {
                "loadtest": "reg/loadtest:1",
                "backends": {
                    "fastapi": "reg/fastapi:1",
                    "litserve": "reg/litserve:1",
                    "rayserve": "reg/rayserve:1",
                },
            },
            "accelerators": {
                "nvidia-l4": {
                    "resourceName": "nvidia.com/gpu",
                    "nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                },
                "standin": {"resourceName": "diffusion.dev/standin-gpu", "device": "cpu"},
            },
            "serverResources": {"requests": {"cpu": "500m"}, "limits": {"memory": "4Gi"}},
            "backendResources": {"rayserve": {"requests": {"memory": "2Gi"}}},
            "hfEndpoint": "https://hub.test",
        }
    )


@pytest.fixture
def service() -> Object:
    return {
        "apiVersion": "diffusion.dev/v1alpha1",
        "kind": "DiffusionService",
        "metadata": {
            "name": "demo",
            "namespace": "shop",
            "uid": "u-1",
            "generation": 3,
            "resourceVersion": "7",
            "labels": {"argocd.argoproj.io/instance": "shop"},
        },
        "spec": {"backend": "fastapi", "replicas": 2, "model": {"source": "image:///models/demo"}},
    }


@pytest.fixture
def loadtest() -> Object:
    return {
        "apiVersion": "diffusion.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {
            "name": "ramp",
            "namespace": "shop",
            "uid": "u-2",
            "generation": 1,
            "resourceVersion": "9",
        },
        "spec": {
            "targetRef": {"name": "demo"},
            "users": {"stages": [{"users": 4, "duration": "1m30s"}], "spawnRate": "2"},
            "think": {"min": "500ms", "max": "2s"},
            "request": {"steps": 4, "guidanceScale": "2.5"},
        },
    }


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings)
