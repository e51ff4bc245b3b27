"""The catalogue's answer to ``spec.gpu``."""

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build import BuildError
from diffusion_operator.settings import Accelerator, Settings


def accelerator_of(spec: DiffusionServiceSpec, settings: Settings) -> Accelerator | None:
    """The catalogue's entry for the spec's GPU. Raises ``BuildError`` for an unknown name."""
    if spec.gpu is None:
        return None
    try:
        return settings.accelerators[spec.gpu.type]
    except KeyError:
        known = ", ".join(sorted(settings.accelerators)) or "none"
        raise BuildError(
            "UnknownAccelerator",
            f"gpu.type {spec.gpu.type!r} is not in the operator's catalogue; known: {known}. "
            "Add it to the chart's value `accelerators`, or choose one of these.",
        ) from None
