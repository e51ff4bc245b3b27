"""Kubernetes objects as plain JSON: keys, labels, owners."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]

MANAGER = "diffusion-operator"
MANAGED_BY = {"app.kubernetes.io/managed-by": MANAGER}
# Informers watch children with this label only.
WATCHED_LABEL = f"app.kubernetes.io/managed-by={MANAGER}"
SERVICE_LABEL = "diffusion.dev/service"
TEST_LABEL = "diffusion.dev/loadtest"
COMPARISON_LABEL = "diffusion.dev/comparison"
RUN_LABEL = "diffusion.dev/run"
HEAD_LABEL = "diffusion.dev/ray-head"
WORKER_LABEL = "diffusion.dev/ray-worker"
CANARY_LABEL = "diffusion.dev/candidate"
# Kubernetes names an EndpointSlice's Service in this label.
SLICE_LABEL = "kubernetes.io/service-name"
ROLE_LABEL = "diffusion.dev/role"
REVISION_LABEL = "diffusion.dev/revision"
RUN_AT_ANNOTATION = "diffusion.dev/run-at"
_MOST_RUN_AT = 253
DIGEST_ANNOTATION = "diffusion.dev/applied-digest"
SCALED_BY_ANNOTATION = "diffusion.dev/scaled-by"
RANDOM_SEED_ANNOTATION = "diffusion.dev/random-seed"
# Digest of the part of the spec that the pods were built from last.
SPEC_ANNOTATION = "diffusion.dev/spec-digest"
ROLLED_BACK_ANNOTATION = "diffusion.dev/rolled-back-from"


class Key(NamedTuple):
    """Key of one object of the cluster."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Mapping[str, Any]) -> Key:
    """Key of the object, which must carry its kind."""
    meta = obj["metadata"]
    return Key(obj["kind"], meta["namespace"], meta["name"])


def owner_reference(owner: Mapping[str, Any]) -> Object:
    """Owner reference that makes ``owner`` the controller of a child, for garbage collection."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_owned(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``owner`` is the controller of ``obj``."""
    uid = owner["metadata"]["uid"]
    return any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences", ()))


def is_orphan_of(obj: Mapping[str, Any], owner: Mapping[str, Any], label: str) -> bool:
    """Whether a namesake of ``owner`` made ``obj`` and left it without any owner.

    ``kubectl delete --cascade=orphan`` leaves such children; ``label`` names a child's owner.
    """
    named = {**MANAGED_BY, label: owner["metadata"]["name"]}
    ownerless = not obj["metadata"].get("ownerReferences")
    return ownerless and named.items() <= labels_of(obj).items()


def run_at_of(obj: Mapping[str, Any]) -> str:
    """Value of the annotation that asks for another run, as long as a status can hold."""
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(RUN_AT_ANNOTATION, ""))[:_MOST_RUN_AT]


def labels_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """Labels of the object; an empty mapping where it has none."""
    labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return labels
