"""The image request, fully resolved, and the key by which requests share a batch."""

from dataclasses import dataclass, field
from typing import NamedTuple

MAX_SEED = 2**32 - 1
"""The largest seed: PyTorch's CPU generator uses 32 bits, so larger ones would repeat others."""


class LoraUse(NamedTuple):
    """A configured LoRA to apply, and its strength."""

    name: str
    scale: float


class StepKey(NamedTuple):
    """The key that images must share to share one step."""

    width: int
    height: int
    lora: LoraUse | None


class BatchKey(NamedTuple):
    """The key that requests must share to share one whole call of the pipeline.

    The scheduler would belong here too, but is the same for all requests of a service.
    """

    steps: int
    guidance_scale: float
    width: int
    height: int
    lora: LoraUse | None


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A fully resolved image request: no field is left to a default.

    `width` and `height` are pixels and multiples of 8. There is one image per seed. The texts are
    kept out of `repr()`, so that no log line or traceback can show them.
    """

    prompt: str = field(repr=False)
    negative_prompt: str = field(repr=False)
    steps: int
    guidance_scale: float
    width: int
    height: int
    seeds: tuple[int, ...]
    lora: LoraUse | None = None

    @property
    def key(self) -> BatchKey:
        return BatchKey(self.steps, self.guidance_scale, self.width, self.height, self.lora)

    @property
    def step_key(self) -> StepKey:
        return StepKey(self.width, self.height, self.lora)

    @property
    def images(self) -> int:
        return len(self.seeds)

    @property
    def pixels(self) -> int:
        """The pixels of one image."""
        return self.width * self.height

    @property
    def step_work(self) -> int:
        """The pixels that one step computes for one image: guidance doubles the U-Net's work."""
        return self.pixels * (2 if self.guidance_scale > 1 else 1)

    @property
    def work(self) -> int:
        """The pixels that all steps compute for all images."""
        return self.step_work * self.steps * self.images


def seeds_from(seed: int, images: int) -> tuple[int, ...]:
    """Returns the seeds of a request: image `i` uses `seed + i`, wrapped after `MAX_SEED`."""
    return tuple((seed + i) % (MAX_SEED + 1) for i in range(images))
