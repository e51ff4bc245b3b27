"""Metadata of children: owner reference, labels, content digest."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from diffusion_operator.kube.kinds import api_version_of
from diffusion_operator.kube.label_selector import labels
from diffusion_operator.kube.objects import DIGEST_ANNOTATION, Object, owner_reference
from diffusion_operator.settings import ChildMetadata


def digest(content: Any) -> str:
    """Short stable digest of JSON content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


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


def changed(
    built: Object, annotations: Mapping[str, str | None] | None = None, **body: Any
) -> Object:
    """Copy of a built child with other content and its digest; ``None`` removes an annotation."""
    metadata = {k: v for k, v in built["metadata"].items() if k != "annotations"}
    kept = {k: v for k, v in built["metadata"]["annotations"].items() if k != DIGEST_ANNOTATION}
    merged = {**kept, **(annotations or {})}
    every = {name: value for name, value in merged.items() if value is not None}
    content = {**built, **body, "metadata": metadata}
    if every:
        content["metadata"] = {**metadata, "annotations": every}
    return _with_digest(content, every)


def dressed(owner: Mapping[str, Any], built: Object, more: ChildMetadata) -> Object:
    """Copy of a built child with further labels and annotations; its own ones stay as they are."""
    if more == ChildMetadata():
        return built
    metadata, above = built["metadata"], owner["metadata"]
    added = {**more.labels, **_copied(above.get("labels"), more.copy_labels)}
    noted = {**more.annotations, **_copied(above.get("annotations"), more.copy_annotations)}
    own = {"labels": {**added, **metadata["labels"]}}
    annotations = {**noted, **metadata["annotations"]}
    return changed({**built, "metadata": {**metadata, **own}}, annotations)


def _copied(of: Mapping[str, str] | None, names: Iterable[str]) -> dict[str, str]:
    return {name: of[name] for name in names if of and name in of}


def _with_digest(content: Object, annotations: Mapping[str, str]) -> Object:
    own = {**annotations, DIGEST_ANNOTATION: digest(content)}
    return {**content, "metadata": {**content["metadata"], "annotations": own}}
