"""What a Comparison runs, and in which order."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class Step(NamedTuple):
    """One repetition of one variant; repetitions count from 1."""

    variant: str
    repetition: int


def steps(variants: Sequence[str], repetitions: int) -> list[Step]:
    """Every variant once in each repetition, each repetition beginning one variant later.

    Interleaved, so that what changes slowly (a warm cache, a hot device, a busy neighbour) hits all
    variants alike; rotated, so that none always comes first.
    """
    turns = [(round_ + 1, round_ % len(variants)) for round_ in range(repetitions)]
    return [
        Step(variant, repetition)
        for repetition, turn in turns
        for variant in (*variants[turn:], *variants[:turn])
    ]


def merged(document: Any, patch: Any) -> Any:
    """The document with a JSON merge patch applied (RFC 7386); neither argument is changed."""
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
    """The dotted paths that a merge patch sets or removes: `{"a": {"b": 1}}` gives `a.b`."""
    found: set[str] = set()
    for key, value in patch.items():
        path = f"{prefix}{key}"
        found |= paths(value, f"{path}.") if isinstance(value, Mapping) and value else {path}
    return found
