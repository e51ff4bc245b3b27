"""One image request, fully resolved, and what decides whether requests share a batch."""

from dataclasses import dataclass, field
from typing import NamedTuple

MAX_SEED = 2**32 - 1
"""PyTorch's CPU generator uses 32 bits of a seed, so a larger one would repeat a smaller one."""


class LoraUse(NamedTuple):
    """Which of the configured LoRAs to apply, and how strongly."""

    name: str
    scale: float


class BatchKey(NamedTuple):
    """Generations that agree in this can share one call of the pipeline.

    The scheduler would belong here too, but is the same for all that a service makes.
    """

    steps: int
    guidance_scale: float
    width: int
    height: int
    lora: LoraUse | None


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One fully resolved request: nothing is left to a default.

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
    def images(self) -> int:
        return len(self.seeds)


def seeds_from(seed: int, images: int) -> tuple[int, ...]:
    """Image `i` of a request uses `seed + i`, wrapping around after `MAX_SEED`."""
    return tuple((seed + i) % (MAX_SEED + 1) for i in range(images))
