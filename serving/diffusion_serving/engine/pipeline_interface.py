"""The pipeline's interface: any loaded model that generates batches of requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.observability.metrics import DeviceUse

STAGES = ("text_encoder", "denoise", "vae")
"""The stages that a pipeline times, in their order."""


OnStep = Callable[[int, int], None]
"""`on_step(step, steps)`: called on the device's own thread after each denoising step, from 1."""


class OutOfMemory(Exception):  # noqa: N818 - named after what happened
    """The device's memory does not hold the batch; a smaller one may fit."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Raw pixels: rows from the top, 3 bytes (red, green, blue) a pixel."""

    width: int
    height: int
    rgb: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BatchOutput:
    """The output of a call: `pictures[j]` of the j-th request, and the seconds of each stage."""

    pictures: Sequence[Sequence[Picture]]
    seconds: Mapping[str, float]


class Pipeline(Protocol):
    """A loaded model, which only the engine's thread may call: it is not safe to share."""

    @property
    def device(self) -> str:
        """The device in use, such as `cpu` or `cuda`."""

    @property
    def device_name(self) -> str:
        """The device's own name, such as `NVIDIA L4`."""

    @property
    def dtype(self) -> str:
        """The precision in use, such as `float16`."""

    @property
    def native_size(self) -> tuple[int, int]:
        """Width and height in pixels that the model was trained for."""

    @property
    def device_memory_bytes(self) -> int | None:
        """Memory held on the device, None where that is the process's. Any thread may read it."""

    @property
    def device_use(self) -> DeviceUse | None:
        """Energy and use of the device, None where it has no meter. Any thread may read it."""

    @property
    def batch_sizes(self) -> Sequence[int]:
        """Batch sizes, smallest first, that cost time when first used; others do not."""

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        """Generates the images of requests that share one batch key.

        Raises:
            OutOfMemory: the batch is too large for the device.
            DeviceLost: the device is gone, and its memory with it.

        """
