"""Steps and variants of a Comparison, before any of them runs."""

from typing import Any

import pytest

from diffusion_operator.api.comparison import ComparisonSpec
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.schedule import InvalidVariantError, run_of, steps, variants_of
from diffusion_operator.comparison.status import Observed, comparison_status
from diffusion_operator.kube.merge_patch import merged, paths
from diffusion_operator.kube.objects import RUN_AT_ANNOTATION

Object = dict[str, Any]

NOW = "2026-01-01T00:00:00Z"


MODEL = {"model": {"source": "image:///models/demo"}}


LOAD = {"users": {"stages": [{"users": 4, "duration": "10s"}]}}


def test_each_repetition_runs_every_variant_and_begins_with_another_one() -> None:
    order = steps(["a", "b", "c"], 3)
    assert [step.variant for step in order] == ["a", "b", "c", "c", "b", "a", "b", "c", "a"]
    assert [step.repetition for step in order] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_more_repetitions_leave_the_first_ones_as_they_were() -> None:
    assert steps(["a", "b"], 5)[:4] == steps(["a", "b"], 2)


# The examples of RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_overrides_are_json_merge_patches(document: Object, patch: Object, result: Object) -> None:
    before = repr(document)
    assert merged(document, patch) == result
    assert repr(document) == before


def test_paths_are_those_a_patch_touches() -> None:
    assert paths({"backend": "x", "batching": {"mode": "none"}, "gpu": None}) == {
        "backend",
        "batching.mode",
        "gpu",
    }


def comparison(**spec: Any) -> Object:
    return {
        "metadata": {"name": "study", "namespace": "default", "uid": "u-1", "generation": 1},
        "spec": {"service": MODEL, "loadTest": LOAD, **spec},
    }


def make_variants(**spec: Any) -> Any:
    study = comparison(**spec)
    return variants_of(study, ComparisonSpec.model_validate(study["spec"]))


def test_without_variants_each_backend_is_compared_with_its_own_batching_and_the_engines() -> None:
    variants = make_variants()
    assert {
        (each.service["backend"], each.service["batching"]["mode"]) for each in variants.values()
    } == {
        ("fastapi", "none"),
        ("fastapi", "engine"),
        ("litserve", "framework"),
        ("litserve", "engine"),
        ("rayserve", "framework"),
        ("rayserve", "engine"),
    }
    assert all(each.service["model"] == MODEL["model"] for each in variants.values())
    waits = {
        name: each.service["batching"].get("maxWaitMilliseconds") for name, each in variants.items()
    }
    assert {name: wait for name, wait in waits.items() if wait} == {"rayserve-framework": 10}


def test_a_variant_may_lack_a_field_that_the_others_share() -> None:
    shared = {**MODEL, "backend": "fastapi", "gpu": {"type": "nvidia-l4"}}
    load = {**LOAD, "think": {"max": "2s"}}
    variants = [{"name": "gpu"}, {"name": "cpu", "remove": ["service.gpu", "loadTest.think"]}]
    made = make_variants(service=shared, loadTest=load, variants=variants)
    assert made["gpu"].service["gpu"] == {"type": "nvidia-l4"}
    assert made["gpu"].load["think"] == {"max": "2s"}
    assert "gpu" not in made["cpu"].service
    assert "think" not in made["cpu"].load
    assert paths(made["cpu"].patch) == {"gpu"}, "the difference is told"


@pytest.mark.parametrize("path", ["service.gpu", "service", "request.steps", "service..gpu"])
def test_a_variant_that_takes_away_what_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(InvalidVariantError, match="remove"):
        make_variants(
            service={**MODEL, "backend": "fastapi"},
            variants=[{"name": "a", "remove": [path]}, {"name": "b"}],
        )


def test_a_variant_that_makes_no_valid_service_is_refused_with_its_name_and_field() -> None:
    variants = [
        {"name": "good", "service": {"backend": "fastapi"}},
        {"name": "bad", "service": {"backend": "flask"}},
    ]
    with pytest.raises(InvalidVariantError, match=r"variant bad: .*backend"):
        make_variants(variants=variants)


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ({"precison": 1}, "loadTest.precison"),
        ({"suspend": True}, "loadTest.suspend"),
        ({"arrivals": {"stages": [{"ratePerSecond": "1", "duration": "5s"}]}}, "exactly one of"),
        ({"users": None, "search": {"over": "users", "max": 8}}, "a search needs spec.slo"),
    ],
)
def test_a_variant_that_makes_no_valid_load_is_refused_in_a_sentence(
    patch: Object, sentence: str
) -> None:
    fastapi = {"backend": "fastapi"}
    variants = [
        {"name": "a", "service": fastapi},
        {"name": "bad", "service": fastapi, "loadTest": patch},
    ]
    with pytest.raises(InvalidVariantError, match=f"variant bad: .*{sentence}") as refused:
        make_variants(variants=variants)
    assert "same version" not in str(refused.value)


def test_a_pause_or_another_repetition_keeps_the_same_run() -> None:
    plain = run_of(comparison())
    assert run_of(comparison(suspend=True, repetitions=5, cooldown="1s")) == plain
    assert run_of(comparison(loadTest={**LOAD, "workers": 2})) != plain


def test_another_value_of_the_annotation_is_another_study() -> None:
    plain = comparison()
    first = {**plain, "metadata": {**plain["metadata"], "annotations": {RUN_AT_ANNOTATION: "a"}}}
    again = {**plain, "metadata": {**plain["metadata"], "annotations": {RUN_AT_ANNOTATION: "b"}}}
    assert len({run_of(plain), run_of(first), run_of(again)}) == 3
    seen = Observed(run_of(first), RunState.WAITING, "Waiting", "it waits")
    assert comparison_status(first, seen, now=NOW).run_at == "a"
    assert comparison_status(plain, seen, now=NOW).run_at == ""
