"""Strategic merge patch of a pod template, as kubectl applies it.

Maps merge field by field and null removes a field. A list is replaced, unless Kubernetes names a
merge key for its items: then the items merge one by one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.kube.objects import Object
from diffusion_operator.kube.problems import SpecError

# Merge key of each list below a PodTemplateSpec that has one.
MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"


def strategic_merge(original: Mapping[str, Any], patch: Mapping[str, Any]) -> Object:
    """Copy of ``original`` with ``patch`` applied.

    Raises:
        SpecError: The patch has another shape than a pod template.
    """
    directive = patch.get(_DIRECTIVE, "merge")
    rest = {name: value for name, value in patch.items() if name not in (_DIRECTIVE, _RETAIN)}
    if unknown := [name for name in rest if name.startswith("$")]:
        raise SpecError(
            "InvalidPodTemplate",
            f"podTemplate has {unknown[0]}, which is not supported: use $patch or $retainKeys",
        )
    if directive == "delete":
        return {}
    if directive == "replace":
        return rest
    _known(directive)
    retained = patch.get(_RETAIN)
    merged: Object = {
        name: value for name, value in original.items() if retained is None or name in retained
    }
    for name, value in rest.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(name, merged.get(name), value)
    return merged


def _known(directive: object) -> None:
    if directive != "merge":
        raise SpecError(
            "InvalidPodTemplate",
            f"podTemplate has $patch: {directive}: write merge, replace or delete",
        )


def _merged(name: str, original: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return strategic_merge(original if isinstance(original, Mapping) else {}, value)
    if isinstance(value, list) and name in MERGE_KEYS:
        return _merged_list(name, original or [], value)
    return value


def _merged_list(name: str, original: Sequence[Object], patch: Sequence[Any]) -> list[Object]:
    key = MERGE_KEYS[name]
    items = [item for item in patch if not _is_bare_replace(item)]
    for item in items:
        if not isinstance(item, Mapping) or key not in item:
            raise SpecError("InvalidPodTemplate", f"podTemplate: an item of {name} has no {key}")
    if len(items) < len(patch):
        return [strategic_merge({}, item) for item in items]
    gone = [item[key] for item in items if item.get(_DIRECTIVE) == "delete"]
    before = {item[key]: item for item in original}
    changed = [
        strategic_merge(before.get(item[key], {}), item) for item in items if item[key] not in gone
    ]
    touched = {item[key] for item in items}
    kept = [item for item in original if item[key] not in touched]
    return _in_order(kept, changed, list(before), key)


def _is_bare_replace(item: Any) -> bool:
    """Whether the item is a directive that replaces the whole list."""
    return isinstance(item, Mapping) and dict(item) == {_DIRECTIVE: "replace"}


def _in_order(
    kept: list[Object], changed: list[Object], order: list[Any], key: str
) -> list[Object]:
    """Merged list in both orders: a new item comes before a kept one."""
    left, right, merged = list(kept), list(changed), []
    while left and right:
        there, here = left[0][key], right[0][key]
        kept_first = here in order and order.index(there) < order.index(here)
        merged.append((left if kept_first else right).pop(0))
    return merged + left + right
