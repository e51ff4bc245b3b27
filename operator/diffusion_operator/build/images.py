"""Which image serves a backend."""

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.build import BuildError
from diffusion_operator.settings import Settings


def serving_image(spec: DiffusionServiceSpec, settings: Settings) -> str:
    """The image of the spec's backend. Raises ``BuildError`` where the settings name none."""
    image = settings.images.backends.get(spec.backend)
    if not image:
        raise BuildError(
            "NoImage",
            f"the operator knows no image for backend {spec.backend}: set the chart's value "
            f"images.backends.{spec.backend}",
        )
    return image
