"""What a gated rollout makes: one replica of the new revision, its address, and its load test."""

from collections.abc import Mapping
from typing import Any

from diffusion_operator.api import API_VERSION
from diffusion_operator.build.deployment import RECREATE
from diffusion_operator.build.metadata import child, digest
from diffusion_operator.build.service import PORT, url
from diffusion_operator.objects import CANDIDATE_LABEL, SERVICE_LABEL, Object

_MAX_NAME = 52


def candidate_name(owner: Mapping[str, Any]) -> str:
    """Name of the Deployment."""
    return f"{owner['metadata']['name']}-candidate"


def preview_name(owner: Mapping[str, Any]) -> str:
    """Name of the Service."""
    return f"{owner['metadata']['name']}-preview"


def preview_url(owner: Mapping[str, Any]) -> str:
    """Where the candidate answers within the cluster."""
    return url(preview_name(owner), owner["metadata"]["namespace"])


def gate_name(owner: Mapping[str, Any], revision: str) -> str:
    """Name of the revision's LoadTest."""
    name = owner["metadata"]["name"]
    whole = f"{name}-gate-{revision}"
    return whole if len(whole) <= _MAX_NAME else f"{name[:25]}-{digest(name)}-{revision}"


def candidate(owner: Mapping[str, Any], built: Mapping[str, Any]) -> Object:
    """One replica of the built Deployment's pods, out of the reach of its Service."""
    template = built["spec"]["template"]
    metadata = template["metadata"]
    found = _selector(owner)
    pod_labels = {k: v for k, v in metadata["labels"].items() if k != SERVICE_LABEL}
    return child(
        owner,
        "apps/v1",
        "Deployment",
        candidate_name(owner),
        spec={
            **built["spec"],
            "replicas": 1,
            "selector": {"matchLabels": found},
            "strategy": dict(RECREATE),
            "template": {**template, "metadata": {**metadata, "labels": {**pod_labels, **found}}},
        },
    )


def preview(owner: Mapping[str, Any]) -> Object:
    """The Service that leads to the candidate alone."""
    return child(
        owner,
        "v1",
        "Service",
        preview_name(owner),
        # By it who scrapes tells the two Services of a service apart.
        more_labels=_selector(owner),
        spec={
            "type": "ClusterIP",
            "selector": _selector(owner),
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    )


def gate_test(owner: Mapping[str, Any], revision: str) -> Object:
    """The LoadTest of the spec's template on the candidate."""
    load = owner["spec"]["rollout"]["gate"]["loadTestTemplate"]
    return child(
        owner,
        API_VERSION,
        "LoadTest",
        gate_name(owner, revision),
        spec={**load, "url": preview_url(owner), "rerun": "Never"},
    )


def _selector(owner: Mapping[str, Any]) -> dict[str, str]:
    return {CANDIDATE_LABEL: owner["metadata"]["name"]}
