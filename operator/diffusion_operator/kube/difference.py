"""Difference between a desired object and the observed one. Pure."""

from collections.abc import Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from diffusion_operator.kube.objects import DIGEST_ANNOTATION


def is_up_to_date(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    """Whether an apply would change nothing.

    The digest reveals fields that the builder dropped, the comparison of values reveals changes by
    others.
    """
    return _digest(desired) == _digest(observed) and _covers(observed, desired)


def _digest(obj: Mapping[str, Any]) -> str | None:
    digest: str | None = (obj["metadata"].get("annotations") or {}).get(DIGEST_ANNOTATION)
    return digest


def _covers(observed: Any, desired: Any) -> bool:
    """Whether the observed value contains the desired one; fields of other managers don't
    matter.
    """
    if isinstance(desired, Mapping):
        return isinstance(observed, Mapping) and all(
            _covers(observed.get(name), value)
            for name, value in desired.items()
            if value not in ({}, [])
        )
    if isinstance(desired, list | tuple):
        return isinstance(observed, list) and _covers_items(observed, list(desired))
    return bool(observed == desired) or _same_quantity(observed, desired)


def _same_quantity(observed: Any, desired: Any) -> bool:
    """Whether both are the same quantity: the API server writes "1000m" as "1"."""
    if not isinstance(observed, str | int) or not isinstance(desired, str | int):
        return False
    try:
        return bool(parse_quantity(observed) == parse_quantity(desired))
    except ValueError:
        return False


def _covers_items(observed: list[Any], desired: list[Any]) -> bool:
    """Whether lists agree: named items may have others among them, plain lists must be equal."""
    if all(isinstance(item, Mapping) and "name" in item for item in desired):
        named = {item.get("name"): item for item in observed if isinstance(item, Mapping)}
        return all(_covers(named.get(item["name"]), item) for item in desired)
    return len(observed) == len(desired) and all(map(_covers, observed, desired))
