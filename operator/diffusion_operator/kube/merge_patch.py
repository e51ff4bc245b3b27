"""JSON merge patch (RFC 7386): a variant's difference from what all variants share."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def merged(document: Any, patch: Any) -> Any:
    """Document with the merge patch applied; neither argument changes."""
    if not isinstance(patch, Mapping):
        return patch
    base = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = merged(base.get(key), value)
    return base


def null_at(steps: Sequence[str]) -> Json:
    """Merge patch that takes away the field at these steps: `a`, `b` give `{"a": {"b": null}}`."""
    name, *rest = steps
    return {name: null_at(rest) if rest else None}


def with_nulls(patch: Json, nulls: Json) -> dict[str, Any]:
    """Merge patch that also takes away what ``nulls`` does."""
    both = dict(patch)
    for name, value in nulls.items():
        inner = both.get(name)
        if isinstance(value, Mapping):
            both[name] = with_nulls(inner if isinstance(inner, Mapping) else {}, value)
        else:
            both[name] = None
    return both


def paths(patch: Json, prefix: str = "") -> set[str]:
    """Dotted paths that a merge patch sets or removes: `{"a": {"b": 1}}` gives `a.b`."""
    touched: set[str] = set()
    for key, value in patch.items():
        path = f"{prefix}{key}"
        touched |= paths(value, f"{path}.") if isinstance(value, Mapping) and value else {path}
    return touched
