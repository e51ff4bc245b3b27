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


class NotFiniteError(RuntimeError):
    """The model computed infinities or NaNs. `str()` is the remedy, in whole sentences."""


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


class Checker(Protocol):
    """A loaded safety checker, for one thread at a time, which need not be the engine's."""

    @property
    def name(self) -> str:
        """`Model` for the model's own checker, else the checker's source."""

    def __call__(self, pictures: Sequence[Picture]) -> Sequence[bool]:
        """Returns whether each picture is blocked."""


class ImageState(Protocol):
    """An image between its text and its pixels; only its pipeline knows what is inside."""

    @property
    def steps_left(self) -> int:
        """Denoising steps that are still to be made; 0 once the image can be decoded."""

    @property
    def pixels(self) -> int:
        """Width times height of the image."""


class StepPipeline(Protocol):
    """A loaded model, one stage at a time. Only the engine's thread may call it.

    Each method raises OutOfMemory where its images are too many for the device at once, and
    DeviceLost where the device is gone; after any other error too, an image that has not advanced
    may be passed again.
    """

    def begin(self, requests: Sequence[ImageRequest]) -> Sequence[Sequence[ImageState]]:
        """Encodes the texts of requests that share a step key; returns a state for each image."""

    def step(self, images: Sequence[ImageState]) -> None:
        """Makes one denoising step of images that share a step key, each at its own timestep."""

    def decode(self, images: Sequence[ImageState]) -> Sequence[Picture]:
        """Decodes images that share a size and have no steps left."""


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

    @property
    def stepwise(self) -> StepPipeline | None:
        """The same model one stage at a time; None where only whole calls can be made."""

    @property
    def checker(self) -> Checker | None:
        """The checker of its pictures; None where they are not checked."""

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        """Generates the images of requests that share one batch key.

        Raises:
            OutOfMemory: the batch is too large for the device.
            DeviceLost: the device is gone, and its memory with it.

        """
