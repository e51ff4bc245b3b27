"""What passes through the engine's queue, and what comes out."""

import enum
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from diffusion_serving.engine.generation import Generation, OnStep, Picture


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one job. Seconds, by stage."""

    pictures: Sequence[Picture]
    queue_seconds: float
    text_encoder_seconds: float
    denoise_seconds: float
    vae_seconds: float


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through the engine. Times are of `time.monotonic`."""

    generation: Generation
    submitted: float
    deadline: float
    on_step: OnStep | None = None
    future: Future[Result] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Startup:
    """What it took to have a device ready, in seconds, and what its pipeline does alone.

    `bare` has the images and the seconds of one call for each batch size up to the cap. It is empty
    where the calls would have kept a server from being ready for long.
    """

    load_seconds: float
    warm_up_seconds: float
    timing_seconds: float
    bare: tuple[tuple[int, float], ...]


class State(enum.Enum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"
