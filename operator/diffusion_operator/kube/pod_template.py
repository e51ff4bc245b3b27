"""Pod template of any pod that the operator makes: chart-wide defaults, then the spec's changes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from diffusion_operator.kube.objects import Object
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.kube.removal import without
from diffusion_operator.kube.strategic_merge import strategic_merge
from diffusion_operator.settings import PodDefaults

T = TypeVar("T", dict[str, Any], list[Any])
_NODE_AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"


def with_defaults(template: Object, defaults: PodDefaults) -> Object:
    """Pod template with the chart's defaults for all pods; a field that isn't there stays away."""
    if defaults == PodDefaults():
        return template
    spec = {
        **defaults.spec,
        **{
            kind: [_of_every(defaults, container) for container in template["spec"][kind]]
            for kind in ("initContainers", "containers")
            if template["spec"].get(kind)
        },
    }
    merged = strategic_merge(template, {"metadata": defaults.metadata, "spec": spec})
    return removed(merged, defaults.remove)


def removed(template: Object, paths: Iterable[str]) -> Object:
    """Pod template without the fields at these paths, where it has them.

    Raises:
        SpecError: A text is no path.
    """
    for path in paths:
        template = _removed(template, path) or template
    return template


def _of_every(defaults: PodDefaults, container: Mapping[str, Any]) -> Object:
    """Patch of one container."""
    added = {"env": defaults.env, "volumeMounts": defaults.volume_mounts}
    patch = {name: [dict(item) for item in items] for name, items in added.items() if items}
    return {"name": container["name"], **patch}


def patched(template: Object, patch: Mapping[str, Any]) -> Object:
    """Pod template with a ``podTemplate`` merged in, and what its ``remove`` names taken away.

    Raises:
        SpecError: The patch has another shape than a pod template, or a path leads nowhere.
    """
    rest = {name: value for name, value in patch.items() if name != "remove"}
    merged = strategic_merge(template, rest)
    for path in patch.get("remove") or ():
        left = _removed(merged, path)
        if left is None:
            raise invalid(f"remove: the pod has no {path}: look at kubectl get pod -o yaml")
        merged = left
    return merged


def _removed(template: Object, path: str) -> Object | None:
    try:
        return without(template, path)
    except ValueError as error:
        raise SpecError("InvalidPodTemplate", f"remove: {error}") from None


def guard_labels(built: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
    """Check that the pods keep the labels by which they are found.

    Raises:
        SpecError: A label is gone or changed.
    """
    labels = (merged.get("metadata") or {}).get("labels") or {}
    if any(labels.get(name) != value for name, value in built["metadata"]["labels"].items()):
        raise invalid("the patch changes labels of the pods' selector: leave those out")


def invalid(why: str) -> SpecError:
    """Error of a ``podTemplate`` that can't be used."""
    return SpecError("InvalidPodTemplate", f"podTemplate can't be used: {why}")


def placed_as(placement: Mapping[str, Any], template: Object) -> Object:
    """Pod template on nodes of that placement, whatever its own placement adds.

    Args:
        placement: Pod spec with the accelerator's node selector, node affinity and tolerations.
        template: Pod template whose author may have other wishes; both hold.

    Raises:
        SpecError: The template asks for another value of the placement's node labels.
    """
    spec = dict(template["spec"])
    own = _part(spec, "nodeSelector", dict)
    needed = placement.get("nodeSelector") or {}
    for label, value in needed.items():
        if own.get(label, value) != value:
            raise invalid(
                f"nodeSelector {label}: {own[label]!r} contradicts gpu.type, whose nodes have "
                f"{value!r}: leave it out, or choose another gpu.type"
            )
    if needed:
        spec["nodeSelector"] = {**needed, **own}
    if placement.get("tolerations"):
        spec["tolerations"] = _union(placement["tolerations"], _part(spec, "tolerations", list))
    terms = _terms(placement)
    if terms:
        spec["affinity"] = _on_both(_part(spec, "affinity", dict), terms, _terms(spec))
    return {**template, "spec": spec}


def _part(of: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """Field of a pod's spec, empty where it is absent.

    Raises:
        SpecError: The field has another shape than Kubernetes gives it.
    """
    part = of.get(name)
    if part is None:
        return kind()
    if not isinstance(part, kind):
        raise invalid(f"{name} has another shape than kubectl explain pod.spec shows")
    return part


def _union(first: Iterable[Object], second: Iterable[Object]) -> list[Object]:
    every = list(first)
    return [*every, *(each for each in second if each not in every)]


def _terms(spec: Mapping[str, Any]) -> list[Object]:
    node = _part(_part(spec, "affinity", dict), "nodeAffinity", dict)
    terms: list[Any] = _part(_part(node, _NODE_AFFINITY, dict), "nodeSelectorTerms", list)
    if not all(isinstance(term, Mapping) for term in terms):
        raise invalid("nodeSelectorTerms has another shape than kubectl explain pod.spec shows")
    return terms


def _on_both(affinity: Object, needed: Sequence[Object], own: Sequence[Object]) -> Object:
    """Affinity to nodes of one of the needed terms and one of the template's own."""
    # Without a wish of its own, the template still has the needed terms.
    extra = [term for term in own if term not in needed]
    both = [_joined(one, other) for one in needed for other in extra] if extra else list(needed)
    node = {**_part(affinity, "nodeAffinity", dict), _NODE_AFFINITY: {"nodeSelectorTerms": both}}
    return {**affinity, "nodeAffinity": node}


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> Object:
    """Term that both terms describe."""
    fields = ("matchExpressions", "matchFields")
    joined = {name: [*_part(one, name, list), *_part(other, name, list)] for name in fields}
    return {name: items for name, items in joined.items() if items}
