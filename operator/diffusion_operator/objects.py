"""Small questions asked of Kubernetes objects, which are plain JSON here."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]

MANAGER = "diffusion-operator"
MANAGED_BY = {"app.kubernetes.io/managed-by": MANAGER}
# Of the children, those with this label alone are watched.
WATCHED_LABEL = f"app.kubernetes.io/managed-by={MANAGER}"
SERVICE_LABEL = "diffusion.dev/service"
TEST_LABEL = "diffusion.dev/loadtest"
COMPARISON_LABEL = "diffusion.dev/comparison"
RUN_LABEL = "diffusion.dev/run"
HEAD_LABEL = "diffusion.dev/ray-head"
WORKER_LABEL = "diffusion.dev/ray-worker"
CANDIDATE_LABEL = "diffusion.dev/candidate"
ROLE_LABEL = "diffusion.dev/role"
REVISION_LABEL = "diffusion.dev/revision"
DIGEST_ANNOTATION = "diffusion.dev/applied-digest"
SCALED_BY_ANNOTATION = "diffusion.dev/scaled-by"
ROLLED_BACK_ANNOTATION = "diffusion.dev/rolled-back-from"


class Key(NamedTuple):
    """Identifies one object of the cluster."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Mapping[str, Any]) -> Key:
    """The object's key; the object must carry its kind."""
    meta = obj["metadata"]
    return Key(obj["kind"], meta["namespace"], meta["name"])


def owner_reference(owner: Mapping[str, Any]) -> Object:
    """The reference that makes ``owner`` the controller of a child, for garbage collection."""
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


def labels_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """The object's labels, none being an empty mapping."""
    labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return labels


def condition_of(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition of that type in the object's status, if it is there."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found["type"] == kind), None)


def target_of(test: Mapping[str, Any]) -> str:
    """What a LoadTest names as its target: a DiffusionService or a URL."""
    spec = test["spec"]
    return str((spec.get("targetRef") or {}).get("name") or spec.get("url") or "")
