"""Requests for images, which the tests of an engine send."""

from diffusion_serving.engine.image_request import ImageRequest

WARM_UP = ImageRequest("warm-up", "", 4, 2.0, 64, 64, (0,))


def image_request(prompt: str, *seeds: int) -> ImageRequest:
    return ImageRequest(prompt, "", 4, 2.0, 64, 64, seeds or (0,))
