"""The chart's values arrive in the operator's settings."""

import json
from collections.abc import Callable
from typing import Any

from diffusion_operator.settings import ChildMetadata, PodDefaults, Rollouts, Settings

Object = dict[str, Any]
Render = Callable[..., list[Object]]


def settings(template: Render, *values: str) -> Settings:
    """The settings that the chart writes with these values, as the operator reads them."""
    arguments = [f"--set={value}" for value in values]
    (config_map,) = (
        each for each in template(*arguments) if each["metadata"]["name"].endswith("-settings")
    )
    return Settings.model_validate(json.loads(config_map["data"]["settings.json"]))


def test_the_charts_own_values_are_the_operators_defaults(template: Render) -> None:
    made = settings(template)
    assert made.rollouts == Rollouts()
    assert made.pod_defaults == PodDefaults()
    assert made.children == ChildMetadata()


def test_pull_secrets_reach_all_pods_that_the_operator_makes(template: Render) -> None:
    made = settings(
        template,
        "imagePullSecrets[0].name=pull",
        "podDefaults.spec.priorityClassName=high",
        "podDefaults.remove[0]=spec.securityContext.runAsUser",
    )
    assert made.pod_defaults.spec == {
        "imagePullSecrets": [{"name": "pull"}],
        "priorityClassName": "high",
    }
    assert made.pod_defaults.remove == ("spec.securityContext.runAsUser",)


def test_a_catalogue_entry_may_ask_for_a_claim_instead_of_a_resource(template: Render) -> None:
    made = settings(template, "accelerators.l4.resourceClaimTemplate=one-l4")
    assert made.accelerators["l4"].resource_claim_template == "one-l4"
