"""The pipeline as the engine sees it: any loaded model that draws batches of requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.observability.metrics import DeviceUse

STAGES = ("text_encoder", "denoise", "vae")
"""What a pipeline times, in the order it happens."""


OnStep = Callable[[int, int], None]
"""`on_step(step, steps)`: called on the device's own thread after each denoising step, from 1."""


class OutOfMemory(Exception):  # noqa: N818 - named after what happened
    """The device's memory does not hold the batch. A smaller one may fit."""


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

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        """Makes the images of generations that share one batch key.

        Raises:
            OutOfMemory: the batch is too large for the device.
            DeviceLost: the device is gone, and with it whatever was on it.

        """
