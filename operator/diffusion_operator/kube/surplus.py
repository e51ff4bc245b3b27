"""Surplus: keys that others added to a child where an addition takes something away."""

from collections.abc import Iterator, Mapping
from typing import Any

from diffusion_operator.kube.objects import Object

_POD = "spec/template/spec"
# A further key makes a selector choose fewer pods, and a pod fit fewer nodes. Elsewhere an addition
# (a sidecar, an annotation) may be what someone else needs.
_EXACT = {
    "Service": ("spec/selector",),
    "NetworkPolicy": ("spec/podSelector",),
    "PodDisruptionBudget": ("spec/selector",),
    "Deployment": (f"{_POD}/nodeSelector", f"{_POD}/affinity"),
}


def surplus(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> list[str]:
    """JSON pointers of the observed keys that the desired child must not have."""
    return [
        pointer
        for place in _EXACT.get(desired["kind"], ())
        for pointer in _added(_at(desired, place), _at(observed, place), f"/{place}")
    ]


def removals(observed: Mapping[str, Any], pointers: list[str]) -> list[Object]:
    """JSON patch that removes these keys, unless one of them has changed meanwhile."""
    tests = [
        {"op": "test", "path": pointer, "value": _at(observed, pointer[1:])} for pointer in pointers
    ]
    return [*tests, *({"op": "remove", "path": pointer} for pointer in pointers)]


def _at(obj: Any, place: str) -> Any:
    for name in map(_unescaped, place.split("/")):
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj


def _added(desired: Any, observed: Any, place: str) -> Iterator[str]:
    if not isinstance(observed, Mapping):
        return
    kept = desired if isinstance(desired, Mapping) else {}
    for name, value in observed.items():
        pointer = f"{place}/{_escaped(name)}"
        if name in kept:
            yield from _added(kept[name], value, pointer)
        elif value not in ({}, []):
            yield pointer


def _escaped(name: str) -> str:
    """Name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
