"""Serving image of a backend."""

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Settings


def serving_image(spec: DiffusionServiceSpec, settings: Settings) -> str:
    """Image of the service, or the operator's own of its backend.

    Raises:
        SpecError: The settings have no image for it.
    """
    if spec.image is not None:
        return spec.image
    image = settings.images.backends.get(spec.backend)
    if not image:
        raise SpecError(
            "NoImage",
            f"the operator has no image for backend {spec.backend}: set the chart's value "
            f"images.backends.{spec.backend}, or image in the spec",
        )
    return image
