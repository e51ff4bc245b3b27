"""Removal of fields by path: a way to take one away that client-side apply keeps.

``kubectl apply`` drops a null before it sends a manifest, so a null can't stand for "take it away".
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from diffusion_operator.kube.objects import Object
from diffusion_operator.kube.strategic_merge import MERGE_KEYS

# A field name, or a key in brackets: spec.containers[server].env[HTTP_PROXY].
_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]+)\]")


def steps_of(path: str) -> list[str]:
    """Steps of a path such as ``metadata.annotations[example.com/a]``.

    Raises:
        ValueError: The text is no path.
    """
    steps = [name or key for name, key in _STEP.findall(path)]
    if not steps or "".join(match[0] for match in _STEP.finditer(path)) != path:
        raise ValueError(
            f"{path!r} is no path: write for example spec.securityContext.runAsUser or "
            "spec.containers[server].env[HTTP_PROXY]"
        )
    return steps


def without(document: Mapping[str, Any], path: str) -> Object | None:
    """Copy of the document without the field or item at that path; ``None`` where it has none.

    Raises:
        ValueError: The text is no path.
    """
    removed = _without(document, steps_of(path), "")
    return None if removed is None else dict(removed)


def _without(part: Any, steps: Sequence[str], name: str) -> Any:
    """Copy of the part without what the steps lead to, or ``None``; ``name`` is its field's."""
    step, *rest = steps
    place = _place(part, step, name)
    if place is None:
        return None
    copy = dict(part) if isinstance(part, Mapping) else list(part)
    if not rest:
        del copy[place]
        return copy
    inner = _without(part[place], rest, step)
    if inner is None:
        return None
    copy[place] = inner
    return copy


def _place(part: Any, step: str, name: str) -> Any:
    """Key of a mapping or index of a list that the step names, or ``None``."""
    if isinstance(part, Mapping):
        return step if step in part else None
    if not isinstance(part, list):
        return None
    return next((at for at, item in enumerate(part) if _is_item(item, step, name)), None)


def _is_item(item: Any, step: str, name: str) -> bool:
    if isinstance(item, Mapping):
        return str(item.get(MERGE_KEYS.get(name, "name"))) == step
    return str(item) == step
