"""A canary of a gated rollout: its Deployment, its preview Service and its LoadTest."""

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.canary import canary, gate_name, gate_test, preview
from diffusion_operator.diffusionservice.specs.deployment import deployment, revision_of
from diffusion_operator.settings import Settings

Object = dict[str, Any]
LOAD: Object = {"users": {"stages": [{"users": 1, "duration": "5s"}]}, "slo": {"p95": "8s"}}


@pytest.fixture
def built(service: Object, settings: Settings) -> Object:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    manifest: Object = deployment(service, spec, settings)
    return manifest


def test_a_canary_is_outside_its_services_selector_and_of_the_same_revision(
    service: Object, built: Object
) -> None:
    made = canary(service, built)
    template = made["spec"]["template"]
    assert revision_of(made) == revision_of(built)
    assert template["spec"] == built["spec"]["template"]["spec"]
    assert "diffusion.dev/service" not in template["metadata"]["labels"]
    selector = {"diffusion.dev/candidate": "demo"}
    assert made["spec"]["selector"]["matchLabels"] == selector
    assert preview(service)["spec"]["selector"] == selector
    assert made["spec"]["replicas"] == 1


def test_the_gates_test_has_the_templates_load_on_the_preview(service: Object) -> None:
    service["spec"]["rollout"] = {"gate": {"loadTestTemplate": LOAD}}
    made = gate_test(service, "abc")
    assert made["metadata"]["name"] == "demo-gate-abc"
    again = gate_test(service, "abc", "after-r1")["metadata"]["annotations"]
    assert again["diffusion.dev/run-at"] == "after-r1"
    assert made["spec"] == {**LOAD, "url": "http://demo-preview.shop.svc", "rerun": "Never"}


def test_the_gates_test_of_the_longest_name_has_a_name_that_fits(service: Object) -> None:
    service["metadata"]["name"] = "a" * 52
    first = gate_name(service, "0123456789")
    service["metadata"]["name"] = "a" * 51 + "b"
    assert len(first) <= 52
    assert gate_name(service, "0123456789") != first
