"""The blur of a blocked picture."""

from PIL import Image

from diffusion_serving.engine.pipeline_interface import Picture

_PATCHES = 8
"""Patches on the longer side, each of one mean colour: too few to recognize anything by."""


def blurred(picture: Picture) -> Picture:
    """Returns a picture of the same size with the mean colours of a few patches alone.

    Nothing but these colours is left, so no filter brings the picture back.
    """
    size = (picture.width, picture.height)
    patches = [max(1, round(_PATCHES * side / max(size))) for side in size]
    image = Image.frombytes("RGB", size, picture.rgb)
    few = image.resize((patches[0], patches[1]), Image.Resampling.BOX)
    whole = few.resize(size, Image.Resampling.BICUBIC)
    return Picture(picture.width, picture.height, whole.tobytes())
