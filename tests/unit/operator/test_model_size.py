"""Warnings about models before they start."""

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, Precision
from diffusion_operator.diffusionservice.specs.model_size import misfit
from diffusion_operator.settings import Accelerator

XL = "hf://stabilityai/stable-diffusion-xl-base-1.0"
V1 = "hf://CompVis/stable-diffusion-v1-4"


def warning_of(
    service: dict[str, Any], source: str, precision: Precision, memory: str | None
) -> str:
    spec = DiffusionServiceSpec.model_validate({**service["spec"], "model": {"source": source}})
    accelerator = Accelerator(resource_name="nvidia.com/gpu", memory=memory)
    return misfit(spec, precision, accelerator) or ""


def test_a_model_larger_than_its_gpu_says_what_it_needs_and_what_to_choose(
    service: dict[str, Any],
) -> None:
    message = warning_of(service, XL, "float32", "10Gi")
    assert "needs at least 13.9 GiB in float32" in message
    assert "has 10Gi" in message
    assert "precision: float16" in message
    assert "precision: float16" not in warning_of(service, XL, "float16", "5Gi")


@pytest.mark.parametrize(
    ("source", "precision", "memory"),
    [
        (XL, "float16", "10Gi"),
        (V1, "float32", "10Gi"),
        (XL, "float32", None),
        ("image:///models/stable-diffusion-xl-base-1.0", "float32", "1Gi"),
        ("hf://someone/else", "float32", "1Gi"),
    ],
)
def test_a_model_that_fits_or_is_not_known_gets_no_warning(
    service: dict[str, Any], source: str, precision: Precision, memory: str | None
) -> None:
    assert warning_of(service, source, precision, memory) == ""


def test_a_model_on_the_cpu_gets_no_warning(service: dict[str, Any]) -> None:
    spec = DiffusionServiceSpec.model_validate({**service["spec"], "model": {"source": XL}})
    assert misfit(spec, "float32", None) is None
