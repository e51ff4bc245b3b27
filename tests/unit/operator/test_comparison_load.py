"""Load of a Comparison: all variants are measured for the same time."""

from typing import Any

from diffusion_operator.api.comparison import ComparisonSpec
from diffusion_operator.comparison.schedule import Schedule, Step, Variant, variants_of
from diffusion_operator.comparison.variant_run import variant_test

Object = dict[str, Any]
STAGES: Object = {"users": {"stages": [{"users": 2, "duration": "5s"}]}}


def variants(load: Object, *patches: Object) -> dict[str, Variant]:
    spec: Object = {
        "service": {"backend": "fastapi", "model": {"source": "image:///models/demo"}},
        "loadTest": load,
        "variants": [
            {"name": f"v{number}", "loadTest": patch} for number, patch in enumerate(patches)
        ],
    }
    return variants_of({"spec": spec}, ComparisonSpec.model_validate(spec))


OWNER: Object = {
    "apiVersion": "diffusion.dev/v1alpha1",
    "kind": "Comparison",
    "metadata": {"name": "study", "namespace": "lab", "uid": "u"},
}


def schedule(variants: dict[str, Variant]) -> Schedule:
    spec = ComparisonSpec.model_validate(
        {
            "service": {"backend": "fastapi", "model": {"source": "image:///models/demo"}},
            "loadTest": STAGES,
        }
    )
    return Schedule(OWNER, spec, variants, "abc123", [])


def test_a_study_with_min_requests_measures_all_variants_for_the_stages_time() -> None:
    for variant in variants({**STAGES, "minRequests": 1000}, {}, {"minRequests": 50}).values():
        test = variant_test(OWNER, Step("v0", 1), variant.load, "abc123")
        assert "minRequests" not in test["spec"]
        assert test["spec"]["users"] == STAGES["users"]


def test_the_design_says_that_min_requests_has_no_effect() -> None:
    assert (
        "let the last stage last longer" in schedule(variants(STAGES, {}, {"minRequests": 9})).note
    )
    assert schedule(variants(STAGES, {}, {"minRequests": None})).note == ""
