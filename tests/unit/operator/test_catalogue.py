"""The chart's accelerators: each is requested by its name, on the nodes that have it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Accelerator, Settings

Object = dict[str, Any]
VALUES = Path(__file__).parents[3] / "deploy" / "chart" / "values.yaml"
CATALOGUE: dict[str, Object] = yaml.safe_load(VALUES.read_text())["accelerators"]
# Labels with which the clouds and NVIDIA's own discovery name a node's GPU.
CLOUDS = {
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "nvidia.com/gpu.product",
}
PARTITION = "cloud.google.com/gke-gpu-partition-size"
GPUS = [name for name, entry in CATALOGUE.items() if entry.get("device", "cuda") == "cuda"]
WHOLE = [name for name in GPUS if "mig" not in name]
SLICES = [name for name in GPUS if name.startswith("nvidia-mig-")]
GKE_SLICES = [name for name in GPUS if name.startswith("nvidia-gke-mig-")]


def pod_on(name: str, service: Object, settings: Settings) -> Object:
    """The pod of a service with that accelerator of the chart."""
    with_catalogue = Settings.model_validate(
        {**settings.model_dump(by_alias=True), "accelerators": CATALOGUE}
    )
    spec = DiffusionServiceSpec.model_validate({**service["spec"], "gpu": {"type": name}})
    built: Object = deployment(service, spec, with_catalogue)["spec"]["template"]["spec"]
    return built


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_accelerator_is_requested_as_its_own_resource_and_tolerates_its_taints(
    service: Object, settings: Settings, name: str
) -> None:
    entry, pod = CATALOGUE[name], pod_on(name, service, settings)
    (container,) = pod["containers"]
    assert container["resources"]["limits"][entry["resourceName"]] == "1"
    assert pod.get("tolerations", []) == entry.get("tolerations", [])


def required_labels(pod: Object) -> list[dict[str, list[str]]]:
    """Alternative sets of labels; a node needs one of them."""
    affinity = pod["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return [{match["key"]: match["values"] for match in term["matchExpressions"]}
            for term in terms]  # fmt: skip


def test_each_gpu_is_whole_or_a_slice() -> None:
    assert sorted([*WHOLE, *SLICES, *GKE_SLICES]) == sorted(GPUS)
    assert WHOLE
    assert len(SLICES) == len(GKE_SLICES) > 0


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_gpu_is_found_on_gke_on_eks_on_aks_and_anywhere_else(
    service: Object, settings: Settings, name: str
) -> None:
    terms = required_labels(pod_on(name, service, settings))
    # A term with labels of two clouds would match no node.
    assert {frozenset(term) & CLOUDS for term in terms} == {frozenset({cloud}) for cloud in CLOUDS}


def test_an_a100_of_80_gb_is_distinguished_from_one_of_40_on_eks(
    service: Object, settings: Settings
) -> None:
    terms = required_labels(pod_on("nvidia-a100-80gb", service, settings))
    (eks,) = [term for term in terms if "karpenter.k8s.aws/instance-gpu-name" in term]
    assert eks["karpenter.k8s.aws/instance-gpu-name"] == ["a100"]
    assert eks["karpenter.k8s.aws/instance-gpu-memory"] == [str(80 * 1024)]


@pytest.mark.parametrize("name", SLICES)
def test_a_slice_of_a_gpu_is_a_resource_of_its_own(
    service: Object, settings: Settings, name: str
) -> None:
    (container,) = pod_on(name, service, settings)["containers"]
    assert container["resources"]["limits"][name.replace("-mig", ".com/mig", 1)] == "1"
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


@pytest.mark.parametrize("name", GKE_SLICES)
def test_a_slice_on_gke_is_a_gpu_of_a_node_with_that_partition(
    service: Object, settings: Settings, name: str
) -> None:
    pod = pod_on(name, service, settings)
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert required_labels(pod) == [{PARTITION: [name.removeprefix("nvidia-gke-mig-")]}]
    elsewhere = CATALOGUE[name.replace("-gke", "")]
    for same in ("memory", "pricePerHour", "tolerations"):
        assert CATALOGUE[name][same] == elsewhere[same]


@pytest.mark.parametrize("name", GPUS)
def test_the_taints_of_gke_and_of_aks_are_tolerated(
    service: Object, settings: Settings, name: str
) -> None:
    tolerations = pod_on(name, service, settings)["tolerations"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in tolerations
    assert {
        "key": "sku",
        "operator": "Equal",
        "value": "gpu",
        "effect": "NoSchedule",
    } in tolerations


def test_each_accelerator_has_a_price_and_slices_share_the_price_of_their_gpu() -> None:
    priced = Accelerator.model_validate({"resourceName": "x/gpu", "pricePerHour": 0.71})
    assert priced.price_per_hour == "0.71"  # Helm's users leave quotes out
    prices = {name: Decimal(entry["pricePerHour"]) for name, entry in CATALOGUE.items()}
    assert all(price > 0 for price in prices.values())
    whole = prices["nvidia-a100-80gb"]
    assert round(prices["nvidia-mig-1g.10gb"] * 7) == round(whole)
    assert round(prices["nvidia-mig-3g.40gb"] * 2) == round(whole)


def test_a_misspelt_accelerator_is_refused_with_the_whole_list(
    service: Object, settings: Settings
) -> None:
    with pytest.raises(SpecError) as refused:
        pod_on("nvidia-l40", service, settings)
    assert all(name in refused.value.message for name in CATALOGUE)
