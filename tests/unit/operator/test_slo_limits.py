"""The SLO's limits in the load plan of a rollout's gate, and in a Comparison."""

from typing import Any

import pytest

from diffusion_operator.api.load import Slo
from diffusion_operator.api.rollout import GateLoad
from diffusion_operator.comparison.analysis.failures import failure_limit
from diffusion_operator.loadtest.specs.load_plan import load_plan

OWNER = {"metadata": {"name": "demo-gate", "namespace": "shop"}}
LOAD = {"users": {"stages": [{"users": 1, "duration": "5s"}]}}


@pytest.mark.parametrize(
    ("slo", "ratio"),
    [
        ({"p95": "8s"}, 0.01),
        ({"minRequestsPerSecond": "2"}, 0.01),
        ({"p95": "8s", "maxFailureRatio": "0.2"}, 0.2),
        ({"maxFailureRatio": "0"}, 0.0),
        ({"maxFailureRatio": 0}, 0.0),
        ({"maxFailureRatio": 0.05}, 0.05),
    ],
)
def test_gate_allows_one_failure_in_a_hundred_unless_its_slo_sets_another_share(
    slo: dict[str, Any], ratio: float
) -> None:
    gate = GateLoad.model_validate({**LOAD, "slo": slo})
    plan = load_plan(OWNER, gate, run="abc", target_url="http://demo", report="demo")
    assert plan.slo is not None
    assert plan.slo.max_failure_ratio == ratio
    assert '"maxFailureRatio":' in plan.text()
    assert failure_limit({"slo": slo}) == ratio


def test_default_stays_out_of_the_stored_spec() -> None:
    assert Slo(p95="8s").model_dump(exclude_unset=True, by_alias=True) == {"p95": "8s"}
