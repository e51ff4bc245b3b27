"""JSON merge patch (RFC 7386): a variant's difference from what all variants share."""

from collections.abc import Mapping
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


def paths(patch: Json, prefix: str = "") -> set[str]:
    """Dotted paths that a merge patch sets or removes: `{"a": {"b": 1}}` gives `a.b`."""
    touched: set[str] = set()
    for key, value in patch.items():
        path = f"{prefix}{key}"
        touched |= paths(value, f"{path}.") if isinstance(value, Mapping) and value else {path}
    return touched
