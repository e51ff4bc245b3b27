"""Names, labels and owner of every child."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from diffusion_operator.objects import (
    COMPARISON_LABEL,
    DIGEST_ANNOTATION,
    MANAGED_BY,
    SERVICE_LABEL,
    TEST_LABEL,
    Object,
    owner_reference,
)

_LABELS = {
    "DiffusionService": ("diffusion-service", SERVICE_LABEL),
    "LoadTest": ("diffusion-loadtest", TEST_LABEL),
    "Comparison": ("diffusion-comparison", COMPARISON_LABEL),
}


def digest(content: Any) -> str:
    """A short, stable digest of JSON content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def selector(owner: Mapping[str, Any]) -> dict[str, str]:
    """The labels that find the owner's pods, all of them this operator's own."""
    _, label = _LABELS[owner["kind"]]
    return {label: owner["metadata"]["name"]}


def labels(owner: Mapping[str, Any]) -> dict[str, str]:
    """The labels of every child."""
    app, _ = _LABELS[owner["kind"]]
    name = owner["metadata"]["name"]
    return {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/instance": name,
        **MANAGED_BY,
        **selector(owner),
    }


def child(
    owner: Mapping[str, Any],
    api_version: str,
    kind: str,
    name: str,
    *,
    more_labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **body: Any,
) -> Object:
    """A child of ``owner``, with a digest of its content by which a change is recognised."""
    content = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": {**labels(owner), **(more_labels or {})},
            "ownerReferences": [owner_reference(owner)],
        },
        **body,
    }
    if annotations:
        content["metadata"]["annotations"] = dict(annotations)
    return _with_digest(content, annotations or {})


def changed(built: Object, annotations: Mapping[str, str] | None = None, **body: Any) -> Object:
    """The built child with other content, and with a digest of that."""
    metadata = {k: v for k, v in built["metadata"].items() if k != "annotations"}
    kept = {k: v for k, v in built["metadata"]["annotations"].items() if k != DIGEST_ANNOTATION}
    every = {**kept, **(annotations or {})}
    content = {**built, **body, "metadata": metadata}
    if every:
        content["metadata"] = {**metadata, "annotations": every}
    return _with_digest(content, every)


def _with_digest(content: Object, annotations: Mapping[str, str]) -> Object:
    own = {**annotations, DIGEST_ANNOTATION: digest(content)}
    return {**content, "metadata": {**content["metadata"], "annotations": own}}
