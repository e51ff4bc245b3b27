"""Metadata of children: labels, selector, owner reference, content digest."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from diffusion_operator.kube.kinds import CUSTOM_KINDS, api_version_of
from diffusion_operator.kube.objects import (
    DIGEST_ANNOTATION,
    MANAGED_BY,
    Object,
    owner_reference,
)


def digest(content: Any) -> str:
    """Short stable digest of JSON content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def selector(owner: Mapping[str, Any]) -> dict[str, str]:
    """Label selector of the owner's pods, of the operator's own labels only."""
    return {CUSTOM_KINDS[owner["kind"]].owner_label: owner["metadata"]["name"]}


def labels(owner: Mapping[str, Any]) -> dict[str, str]:
    """Labels of every child."""
    name = owner["metadata"]["name"]
    return {
        "app.kubernetes.io/name": CUSTOM_KINDS[owner["kind"]].app,
        "app.kubernetes.io/instance": name,
        **MANAGED_BY,
        **selector(owner),
    }


def child(
    owner: Mapping[str, Any],
    kind: str,
    name: str,
    *,
    more_labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **body: Any,
) -> Object:
    """Manifest of a child, with the digest of its content by which a change is detected."""
    content = {
        "apiVersion": api_version_of(kind),
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
    """Copy of a built child with other content and its digest."""
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
