"""Mark of a spec on the workload: tells a changed spec from a changed operator."""

from collections.abc import Callable, Mapping
from typing import Any

from diffusion_operator.diffusionservice.specs.deployment import revision_of
from diffusion_operator.kube.metadata import changed, digest
from diffusion_operator.kube.objects import SPEC_ANNOTATION, Object

# Changes of these fields make no new pods.
_NOT_OF_PODS = frozenset(
    {"replicas", "autoscaling", "routing", "rollout", "route", "serviceAccount", "suspend"}
)


def spec_mark(spec: Mapping[str, Any]) -> str:
    """Digest of the part of a spec, as its author wrote it, that makes the pods."""
    return digest({name: value for name, value in spec.items() if name not in _NOT_OF_PODS})


def mark_of(observed: Mapping[str, Any]) -> str | None:
    """Mark of the spec whose pods the workload got last; ``None`` from an older release."""
    mark: str | None = (observed["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION)
    return mark


def needs_mark(
    built: Mapping[str, Any],
    observed: Mapping[str, Any],
    revision: Callable[[Mapping[str, Any]], str] = revision_of,
) -> bool:
    """Whether the workload gets a mark: an older release's gets one with its next pods only."""
    return mark_of(observed) is not None or revision(built) != revision(observed)


def marked(built: Object, owner: Mapping[str, Any]) -> Object:
    """Copy of the built workload with the mark of its owner's spec."""
    return changed(built, {SPEC_ANNOTATION: spec_mark(owner["spec"])})
