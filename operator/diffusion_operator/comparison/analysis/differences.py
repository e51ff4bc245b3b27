"""Differences between variants beyond those that the user intended."""

from collections.abc import Iterable, Mapping, Sequence

from diffusion_operator.kube.merge_patch import Json, paths

_FRAMEWORK = {"backend", "image", "fastapi", "litserve", "ray", "starlette", "uvicorn"}
"""Facts that come with a backend: its image and the versions of its libraries."""

_MEANT: Mapping[str, set[str]] = {
    "backend": {*_FRAMEWORK, "batching"},
    "batching": {"batching"},
    "gpu": {"device", "deviceName", "driver", "cuda", "precision", "nodes"},
    "precision": {"precision"},
    "compile": {"compile"},
    "replicas": {"replicas", "nodes"},
    "model": {"model", "modelRevision", "width", "height"},
    "generation.steps": {"steps"},
    "generation.width": {"width"},
    "generation.height": {"height"},
    "generation.scheduler": {"scheduler"},
    "generation.guidanceScale": {"guidanceScale"},
    "rayserve": {"nodes"},
    "podTemplate": {"nodes"},
}
"""Facts of a fingerprint that may differ where variants set the field or one below it."""

_INCIDENTAL = {"revision"}
"""Facts that differ between any two services."""


def meant(overrides: Iterable[Json]) -> set[str]:
    """Facts that may differ between variants with these merge patches of the service's spec."""
    touched: set[str] = set()
    for path in {path for patch in overrides for path in paths(patch)}:
        for field, facts in _MEANT.items():
            if path == field or path.startswith(f"{field}.") or field.startswith(f"{path}."):
                touched |= facts
    return touched


def differences(
    fingerprints: Mapping[str, Sequence[Mapping[str, str]]], may_differ: set[str]
) -> tuple[str, ...]:
    """Unintended differences as text: `torch (2.9.0 in a, 2.10.0 in b)`.

    `fingerprints` holds the facts of each run by variant. A fact that may differ between variants
    must still be equal in all runs of one.
    """
    facts = {fact for runs in fingerprints.values() for run in runs for fact in run}
    texts = []
    for fact in sorted(facts - _INCIDENTAL):
        values = {
            variant: sorted({run.get(fact, "unknown") for run in runs})
            for variant, runs in fingerprints.items()
            if runs
        }
        unlike = any(len(each) > 1 for each in values.values())
        if fact not in may_differ:
            unlike = unlike or len({tuple(each) for each in values.values()}) > 1
        if unlike:
            listed = ", ".join(
                f"{' and '.join(each)} in {variant}" for variant, each in values.items()
            )
            texts.append(f"{fact} ({listed})")
    return tuple(texts)
