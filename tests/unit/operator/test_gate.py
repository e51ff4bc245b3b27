"""A gate: the verdict on a canary, and the reasons of a failure."""

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.rollout.gate import (
    answers,
    gate_failure,
    has_passed,
    is_unmeasured,
    retry_after,
    waiting,
)
from diffusion_operator.diffusionservice.specs.deployment import deployment, revision_of
from diffusion_operator.settings import Settings

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"


def ended_test(
    valid: str = "True", slo: str = "True", state: str = "Complete", reason: str = "Judged"
) -> Object:
    verdicts = {"Valid": valid, "SLOMet": slo}
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": f"{kind} {status}"}
        for kind, status in verdicts.items()
    ]
    status = {"run": "r1", "state": state, "conditions": conditions}
    return {"kind": "LoadTest", "metadata": {"name": "demo-gate-x"}, "status": status}


@pytest.fixture
def built(service: Object, settings: Settings) -> Object:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    manifest: Object = deployment(service, spec, settings)
    return manifest


def test_only_valid_figures_within_the_slo_let_a_canary_pass() -> None:
    assert has_passed(ended_test())
    assert not has_passed(ended_test(valid="False"))
    assert not has_passed(ended_test(slo="False"))
    assert not has_passed(ended_test(valid="Unknown"))
    assert not has_passed(ended_test(state="Running"))
    assert not has_passed(None)


EVERY_ONE_FAILED = "AllRequestsFailed"


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (ended_test(slo="False"), "not SLOMet: Judged: SLOMet False"),
        (
            ended_test(valid="False", slo="False", reason=EVERY_ONE_FAILED),
            "not Valid: AllRequestsFailed",
        ),
    ],
)
def test_a_measured_miss_is_the_reason(test: Object, words: str) -> None:
    failed = gate_failure("new", None, [], test, NOW)
    assert failed is not None
    assert (failed.revision, failed.reason) == ("new", "GateNotMet")
    assert words in failed.message
    assert gate_failure("new", None, [], ended_test(state="Running"), NOW) is None


@pytest.mark.parametrize(
    "test",
    [
        ended_test(valid="False", slo="False", reason="ClientSaturated"),
        ended_test(valid="False", slo="Unknown", state="Failed", reason="RunnerLost"),
        ended_test(valid="Unknown", slo="Unknown", state="Failed", reason="NoPods"),
    ],
    ids=["invalid", "lost", "unstarted"],
)
def test_a_test_without_a_verdict_runs_again_and_refuses_nothing(test: Object) -> None:
    assert gate_failure("new", None, [], test, NOW) is None
    assert is_unmeasured(test)
    for each in test["status"]["conditions"]:
        each["lastTransitionTime"] = "2026-01-02T03:03:30Z"
    assert retry_after(test, NOW) is None, "a pause comes first"
    assert retry_after(test, "2026-01-02T03:04:30Z") == "after-r1"
    test["metadata"]["annotations"] = {"diffusion.dev/run-at": "after-r1"}
    test["status"] |= {"run": "r2", "state": "Running"}
    assert retry_after(test, "2026-01-02T03:09:30Z") == "after-r1"
    assert "runs again" in waiting("new", "t", [], ended_test(valid="False"), up=True).message


def test_a_canary_answers_once_its_own_revision_is_available(built: Object) -> None:
    revision = revision_of(built)
    built["metadata"]["generation"] = 2
    built["status"] = {"observedGeneration": 2, "availableReplicas": 1, "updatedReplicas": 1}
    assert answers(built, revision)
    assert not answers(built, "other")
    assert not answers(None, revision)
    built["status"]["observedGeneration"] = 1
    assert not answers(built, revision)


def test_the_reason_that_a_canary_does_not_start_is_reported() -> None:
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    lacking = {**refused, "message": "1 Insufficient nvidia.com/gpu."}
    pod = {"metadata": {"name": "c"}, "status": {"conditions": [lacking]}}
    gate = waiting("new", "demo-gate-new", [pod], up=False)
    assert gate.failure is not None
    assert gate.failure.reason == "InsufficientGPU"
    assert "demo-gate-new" in waiting("new", "demo-gate-new", [pod], up=True).message
