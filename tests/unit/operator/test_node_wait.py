"""A rollout's wait for a node that an autoscaler adds."""

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.rollout.node_wait import node_wait
from diffusion_operator.settings import Rollouts

Object = dict[str, Any]
REFUSED: Object = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "1 Insufficient nvidia.com/gpu.",
    "lastTransitionTime": "2026-01-02T03:00:00Z",
}
POD: Object = {"metadata": {"name": "new"}, "status": {"conditions": [REFUSED]}}


def event(reason: str, at: str = "2026-01-02T03:00:20Z") -> Object:
    return {"reason": reason, "lastTimestamp": at}


@pytest.mark.parametrize(
    ("events", "now", "left"),
    [
        ([], "03:00:10", 20),
        ([], "03:00:30", 0),
        ([event("TriggeredScaleUp")], "03:05:00", 300),
        ([event("Nominated")], "03:05:00", 300),
        ([event("TriggeredScaleUp")], "03:10:00", 0),
        ([event("NotTriggerScaleUp")], "03:00:10", 0),
        (
            [event("NotTriggerScaleUp"), event("TriggeredScaleUp", "2026-01-02T03:01:00Z")],
            "03:05:00",
            300,
        ),
    ],
    ids=["grace", "no autoscaler", "announced", "Karpenter", "timeout", "refused", "then added"],
)
def test_a_rollout_waits_as_long_as_a_node_is_announced(
    service: Object, events: list[Object], now: str, left: float
) -> None:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    assert node_wait(spec, Rollouts(), POD, events, f"2026-01-02T{now}Z") == left


def test_a_pod_with_a_node_waits_for_none(service: Object) -> None:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    placed: Object = {"metadata": {}, "status": {"conditions": []}}
    assert node_wait(spec, Rollouts(), placed, [], "2026-01-02T03:00:00Z") == 0
