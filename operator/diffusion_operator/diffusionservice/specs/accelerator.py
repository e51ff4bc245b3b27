"""Accelerator: the catalogue's entry for ``spec.gpu``."""

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Accelerator, Settings


def accelerator_of(spec: DiffusionServiceSpec, settings: Settings) -> Accelerator | None:
    """Catalogue entry of the spec's GPU.

    Raises:
        SpecError: The catalogue has no such name.
    """
    if spec.gpu is None:
        return None
    try:
        return settings.accelerators[spec.gpu.type]
    except KeyError:
        known = ", ".join(sorted(settings.accelerators)) or "none"
        raise SpecError(
            "UnknownAccelerator",
            f"gpu.type {spec.gpu.type!r} is not in the operator's catalogue; known: {known}. "
            "Add it to the chart's value `accelerators`, or choose one of these.",
        ) from None
