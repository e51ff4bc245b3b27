"""Seeds of a Comparison's loads: one round sends equal arrivals to all of its variants."""

import json
from typing import Any

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.comparison.schedule import Step
from diffusion_operator.comparison.variant_run import variant_test
from diffusion_operator.loadtest.specs.job import PlannedRun, job, workers_job
from diffusion_operator.settings import Settings

Object = dict[str, Any]
COMPARISON: Object = {
    "apiVersion": "diffusion.dev/v1alpha1",
    "kind": "Comparison",
    "metadata": {"name": "study", "namespace": "lab", "uid": "u-1"},
}
LOAD: Object = {"arrivals": {"stages": [{"ratePerSecond": "4", "duration": "60s"}]}}


def plan_of(step: Step, settings: Settings, run: str = "abc123", build: Any = job) -> Object:
    """The load plan that the runner of a step's LoadTest receives."""
    test = variant_test(COMPARISON, step, LOAD, run)
    return planned(test, settings, build)


def planned(test: Object, settings: Settings, build: Any = job) -> Object:
    test["metadata"]["uid"] = test["metadata"]["name"]
    spec = LoadTestSpec.model_validate(test["spec"])
    run = test["metadata"]["name"]
    manifest = build(PlannedRun(test, spec, settings, run=run, target_url="u", access="a"))
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    plan: Object = json.loads(container["env"][0]["value"])
    return plan


def test_all_variants_of_a_round_have_the_same_seed(settings: Settings) -> None:
    first = plan_of(Step("fastapi", 2), settings)
    second = plan_of(Step("litserve", 2), settings)
    assert first["randomSeed"] == second["randomSeed"]
    assert first["test"]["run"] != second["test"]["run"]


def test_a_further_attempt_has_the_seed_of_its_round(settings: Settings) -> None:
    assert (
        plan_of(Step("fastapi", 2, attempt=3), settings)["randomSeed"]
        == plan_of(Step("fastapi", 2), settings)["randomSeed"]
    )


def test_rounds_and_studies_have_seeds_of_their_own(settings: Settings) -> None:
    seeds = {
        plan_of(step, settings, run)["randomSeed"]
        for step in (Step("fastapi", 1), Step("fastapi", 2))
        for run in ("abc123", "def456")
    }
    assert len(seeds) == 4


def test_the_workers_plan_has_the_seed_as_well(settings: Settings) -> None:
    step = Step("fastapi", 1)
    assert plan_of(step, settings, build=workers_job) == plan_of(step, settings)


def test_a_load_test_of_its_own_has_no_seed(loadtest: Object, settings: Settings) -> None:
    assert "randomSeed" not in planned(loadtest, settings)
