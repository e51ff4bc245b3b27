"""Examples of the study: the design that docs/study.md describes."""

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffusion_operator.api.comparison import DEFAULT_REPETITIONS, ComparisonSpec
from diffusion_operator.api.comparison_parts import default_variants
from diffusion_operator.comparison.schedule import variants_of

Object = dict[str, Any]
EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = sorted(EXAMPLES.glob("comparison*.yaml"))
SIX = {variant.name: variant.service for variant in default_variants()}


def comparisons(file: Path) -> list[Object]:
    return list(yaml.safe_load_all(file.read_text()))


EVERY = [each for file in FILES for each in comparisons(file)]
L4 = comparisons(EXAMPLES / "comparison-study-l4.yaml")


def part(name: str) -> list[Object]:
    return [each for each in L4 if each["metadata"]["labels"]["part"] == name]


def services(comparison: Object) -> dict[str, Object]:
    """Each variant's whole service, as the operator makes it."""
    spec = ComparisonSpec.model_validate(comparison["spec"])
    return {name: dict(one.service) for name, one in variants_of(comparison, spec).items()}


@pytest.mark.parametrize("comparison", EVERY, ids=lambda each: each["metadata"]["name"])
def test_an_example_has_the_default_rounds_and_valid_variants(comparison: Object) -> None:
    assert services(comparison)
    assert comparison["spec"].get("repetitions", DEFAULT_REPETITIONS) == DEFAULT_REPETITIONS


@pytest.mark.parametrize("comparison", EVERY, ids=lambda each: each["metadata"]["name"])
def test_an_example_measures_all_variants_for_the_same_time(comparison: Object) -> None:
    assert "minRequests" not in comparison["spec"]["loadTest"]


def test_capacity_has_each_variant_on_two_gpus_and_each_pair_on_one_at_least() -> None:
    blocks = [services(each) for each in part("capacity")]
    assert Counter(name for block in blocks for name in block) == dict.fromkeys(SIX, 2)
    met = Counter(pair for block in blocks for pair in combinations(sorted(block), 2))
    assert set(met) == set(combinations(sorted(SIX), 2))
    gpus = {
        tuple(service["podTemplate"]["spec"]["nodeSelector"].values())
        for block in blocks
        for service in block.values()
    }
    assert len(gpus) == len(blocks) == 3


def test_capacity_has_one_load_and_the_variants_of_the_default() -> None:
    assert len({str(each["spec"]["loadTest"]) for each in part("capacity")}) == 1
    for comparison in part("capacity"):
        for variant in comparison["spec"]["variants"]:
            assert variant["service"] == SIX[variant["name"]]
        assert comparison["spec"]["service"]["replicas"] == 1


def test_rates_are_common_to_all_six_variants_on_three_replicas() -> None:
    rates = set()
    for comparison in part("rate"):
        assert set(services(comparison)) == set(SIX)
        assert comparison["spec"]["service"]["replicas"] == 3
        (stage,) = comparison["spec"]["loadTest"]["arrivals"]["stages"]
        rates.add(stage["ratePerSecond"])
    assert len(rates) == 3


def test_routing_compares_the_same_variants_and_arrivals_with_two_kinds_of_connection() -> None:
    loads = [dict(each["spec"]["loadTest"]) for each in part("routing")]
    assert sorted(load.pop("connections")["reuse"] for load in loads) == ["Always", "PerRequest"]
    assert loads[0] == loads[1]
    first, second = (services(each) for each in part("routing"))
    assert first == second
    assert set(first) <= set(SIX)
