"""The vocabulary between the HTTP surface, the engine and the pipeline. Imports no framework."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from diffusion_serving.observability.metrics import DeviceUse

MAX_SEED = 2**32 - 1
"""PyTorch's CPU generator uses 32 bits of a seed, so a larger one would repeat a smaller one."""

STAGES = ("text_encoder", "denoise", "vae")
"""What a pipeline times, in the order it happens."""


OnStep = Callable[[int, int], None]
"""`on_step(step, steps)`: called on the device's own thread after each denoising step, from 1."""


class OutOfMemory(Exception):  # noqa: N818 - named after what happened
    """The device's memory does not hold the batch. A smaller one may fit."""


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
class Generation:
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


@dataclass(frozen=True, slots=True)
class Picture:
    """Raw pixels: rows from the top, 3 bytes (red, green, blue) a pixel."""

    width: int
    height: int
    rgb: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """`pictures[j]` belongs to the j-th generation; `seconds` has the length of each stage."""

    pictures: Sequence[Sequence[Picture]]
    seconds: Mapping[str, float]


class Pipeline(Protocol):
    """A loaded model. Only the engine's thread may call it: it is not safe to share."""

    @property
    def device(self) -> str:
        """The device in use, such as `cpu` or `cuda`."""

    @property
    def device_name(self) -> str:
        """What the device calls itself, such as `NVIDIA L4`."""

    @property
    def dtype(self) -> str:
        """The precision in use, such as `float16`."""

    @property
    def native_size(self) -> tuple[int, int]:
        """Width and height in pixels that the model was trained for."""

    @property
    def device_memory_bytes(self) -> int | None:
        """Memory held on the device, None where that is the process's own. Any thread may ask."""

    @property
    def device_use(self) -> DeviceUse | None:
        """What it has spent, None where the device has no meter. Any thread may ask."""

    @property
    def batch_sizes(self) -> Sequence[int]:
        """Batch sizes, smallest first, that cost time when first used; others do not."""

    def __call__(self, batch: Sequence[Generation], on_step: OnStep | None = None) -> BatchOutput:
        """Makes the images of generations that share one batch key.

        Raises:
            OutOfMemory: the batch is too large for the device.
            DeviceLost: the device is gone, and with it whatever was on it.

        """
