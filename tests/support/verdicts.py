"""A safety checker of known answers, which needs no model."""

from collections.abc import Sequence

from diffusion_serving.engine.pipeline_interface import Picture
from held import Held

RED, BLUE = 0xC00000, 0x0000C0
"""Seeds of which the fake pipelines paint pictures that the checker blocks, and that it passes."""


class RedChecker(Held):
    """A checker that blocks red pictures; `hold()` stops it until `release()`."""

    name = "Model"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        """The pictures of each call."""
        self.failing: set[bytes] = set()
        """Colours that it fails on."""
        self.memory: int | None = None
        """The pictures that it takes at once; None for any number."""

    def __call__(self, pictures: Sequence[Picture]) -> list[bool]:
        self.calls.append(len(pictures))
        self._enter()
        colours = [colour_of(picture) for picture in pictures]
        if self.failing & {*colours} or len(pictures) > (self.memory or len(pictures)):
            raise RuntimeError("the checker fails")
        return [colour[0] > 2 * colour[2] for colour in colours]


def colour_of(picture: Picture) -> bytes:
    """The colour of the pixel in the middle."""
    middle = len(picture.rgb) // 6 * 3
    return picture.rgb[middle : middle + 3]
