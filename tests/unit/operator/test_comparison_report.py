"""The report of a Comparison: it holds no prompt, and fits its ConfigMap."""

import json
from typing import Any

from diffusion_operator.api.comparison import Run
from diffusion_operator.comparison.analysis.report import (
    MOST_BYTES,
    REPORT_KEY,
    comparison_report,
    without_prompts,
)
from diffusion_operator.comparison.analysis.results import Table

Object = dict[str, Any]

SECRET = "a confidential unicorn"


def report_text(repetitions: int, point: Object) -> str:
    """The report of two variants, with an hour's timeline of this point for each repetition."""
    names = [f"{variant}-{i}" for variant in ("a", "b") for i in range(1, repetitions + 1)]
    runs = [
        Run(variant=name[0], repetition=int(name[2:]), state="Complete", load_test=name)
        for name in names
    ]
    load = {"stages": [{"users": 1}], "timeline": [point] * 3600, "search": {"probes": [point]}}
    comparison = {
        "apiVersion": "diffusion.dev/v1alpha1",
        "kind": "Comparison",
        "metadata": {"name": "study", "namespace": "shop", "uid": "u-1"},
        "spec": {"service": {}, "loadTest": {}},
    }
    results = Table((), "", "", (), "requests per second")
    made = comparison_report(comparison, runs, results, dict.fromkeys(names, load))
    return str(made["data"][REPORT_KEY])


def test_no_prompt_of_the_spec_is_in_the_report() -> None:
    request = {"prompts": {"inline": [SECRET, "x"]}, "negativePrompt": SECRET, "steps": 4}
    spec = {
        "service": {"rollout": {"gate": {"loadTestTemplate": {"request": request}}}},
        "loadTest": {"request": request},
        "variants": [{"name": "a", "loadTest": {"request": request}}, {"name": "b"}],
        "repetitions": 3,
    }
    published = without_prompts(spec)
    assert SECRET not in json.dumps(published)
    assert published["loadTest"]["request"]["steps"] == 4
    assert published["loadTest"]["request"]["prompts"] == {
        "inline": ["2 prompt(s), left out of reports"]
    }
    assert (published["variants"][1], published["repetitions"]) == ({"name": "b"}, 3)
    assert SECRET in json.dumps(spec), "the spec itself was changed"


def test_a_prompt_that_comes_from_a_config_map_is_still_named() -> None:
    by_name = {"request": {"prompts": {"configMapRef": {"name": "prompts"}}}}
    assert without_prompts(by_name) == by_name


def test_loads_are_thinned_and_left_out_before_the_report_outgrows_its_config_map() -> None:
    ordinary = report_text(3, {"at": 1.0, "users": 8})
    assert len(json.loads(ordinary)["loads"]) == 6
    large = json.loads(report_text(5, {"at": 1.0, "note": "x" * 300}))
    assert len(large["loads"]) == 10
    assert 0 < len(large["loads"]["a-1"]["timeline"]) < 600
    larger = json.loads(report_text(5, {"at": 1.0, "note": "x" * 120_000}))
    assert (larger["loads"], len(larger["runs"])) == ({}, 10)
    assert all(len(json.dumps(each)) <= MOST_BYTES for each in (large, larger))
