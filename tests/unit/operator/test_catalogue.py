"""The accelerators of the chart: each is asked for by its name, on the nodes that have it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build import BuildError
from diffusion_operator.build.deployment import deployments
from diffusion_operator.settings import Settings

Object = dict[str, Any]
VALUES = Path(__file__).parents[3] / "deploy" / "chart" / "values.yaml"
CATALOGUE: dict[str, Object] = yaml.safe_load(VALUES.read_text())["accelerators"]
# Labels by which the clouds and NVIDIA's own discovery tell what a node has.
CLOUDS = {
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "nvidia.com/gpu.product",
}


def pod_on(name: str, service: Object, settings: Settings) -> Object:
    """The pod of a service that asks for that accelerator of the chart's."""
    with_catalogue = Settings.model_validate(
        {**settings.model_dump(by_alias=True), "accelerators": CATALOGUE}
    )
    spec = DiffusionServiceSpec.model_validate({**service["spec"], "gpu": {"type": name}})
    built: Object = deployments(service, spec, with_catalogue)[0]["spec"]["template"]["spec"]
    return built


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_is_asked_for_as_its_own_resource_past_its_taints(
    service: Object, settings: Settings, name: str
) -> None:
    entry, pod = CATALOGUE[name], pod_on(name, service, settings)
    (container,) = pod["containers"]
    assert container["resources"]["limits"][entry["resourceName"]] == "1"
    assert pod.get("tolerations", []) == entry.get("tolerations", [])


@pytest.mark.parametrize("name", ["nvidia-l4", "nvidia-t4", "nvidia-h100-80gb"])
def test_a_whole_gpu_is_found_on_gke_on_eks_on_aks_and_anywhere_else(
    service: Object, settings: Settings, name: str
) -> None:
    affinity = pod_on(name, service, settings)["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    # One of the terms is enough for a node.
    asked = [{match["key"]: match["values"] for match in term["matchExpressions"]}
             for term in terms]  # fmt: skip
    assert {key for term in asked for key in term} == CLOUDS
    assert all(len(term) == 1 for term in asked)


def test_a_slice_of_a_gpu_is_a_resource_of_its_own(service: Object, settings: Settings) -> None:
    (container,) = pod_on("nvidia-mig-1g.10gb", service, settings)["containers"]
    assert container["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_a_misspelt_one_is_answered_with_the_whole_list(
    service: Object, settings: Settings
) -> None:
    with pytest.raises(BuildError) as refused:
        pod_on("nvidia-l40", service, settings)
    assert all(name in refused.value.message for name in CATALOGUE)
