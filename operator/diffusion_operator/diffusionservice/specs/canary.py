"""Canary of a gated rollout: one replica of the new revision, its preview Service, its LoadTest."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.diffusionservice.specs.deployment import RECREATE
from diffusion_operator.diffusionservice.specs.service import PORT, url
from diffusion_operator.kube.metadata import child, digest
from diffusion_operator.kube.objects import CANARY_LABEL, RUN_AT_ANNOTATION, SERVICE_LABEL, Object

_MAX_NAME = 52


def canary_name(owner: Mapping[str, Any]) -> str:
    """Name of the canary's Deployment."""
    return f"{owner['metadata']['name']}-candidate"


def preview_name(owner: Mapping[str, Any]) -> str:
    """Name of the preview Service."""
    return f"{owner['metadata']['name']}-preview"


def preview_url(owner: Mapping[str, Any]) -> str:
    """URL of the canary within the cluster."""
    return url(preview_name(owner), owner["metadata"]["namespace"])


def gate_name(owner: Mapping[str, Any], revision: str) -> str:
    """Name of the revision's LoadTest."""
    name = owner["metadata"]["name"]
    whole = f"{name}-gate-{revision}"
    return whole if len(whole) <= _MAX_NAME else f"{name[:25]}-{digest(name)}-{revision}"


def canary(owner: Mapping[str, Any], built: Mapping[str, Any]) -> Object:
    """Deployment of one replica of the built pods, which the Service doesn't select."""
    template = built["spec"]["template"]
    metadata = template["metadata"]
    selected = _selector(owner)
    pod_labels = {k: v for k, v in metadata["labels"].items() if k != SERVICE_LABEL}
    return child(
        owner,
        "Deployment",
        canary_name(owner),
        spec={
            **built["spec"],
            "replicas": 1,
            "selector": {"matchLabels": selected},
            "strategy": dict(RECREATE),
            "template": {
                **template,
                "metadata": {**metadata, "labels": {**pod_labels, **selected}},
            },
        },
    )


def preview(owner: Mapping[str, Any]) -> Object:
    """Service that selects the canary alone."""
    return child(
        owner,
        "Service",
        preview_name(owner),
        # The label distinguishes both Services of a DiffusionService in metrics.
        more_labels=_selector(owner),
        spec={
            "type": "ClusterIP",
            "selector": _selector(owner),
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    )


def gate_test(owner: Mapping[str, Any], revision: str, run_at: str | None = None) -> Object:
    """LoadTest of the spec's template against the canary; another ``run_at`` runs it again."""
    load = owner["spec"]["rollout"]["gate"]["loadTestTemplate"]
    return child(
        owner,
        "LoadTest",
        gate_name(owner, revision),
        annotations={RUN_AT_ANNOTATION: run_at} if run_at else None,
        spec={**load, "url": preview_url(owner), "rerun": "Never"},
    )


def _selector(owner: Mapping[str, Any]) -> dict[str, str]:
    return {CANARY_LABEL: owner["metadata"]["name"]}
