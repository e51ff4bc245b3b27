"""The life of an engine: its state, and what its start took."""

import enum
from dataclasses import dataclass

from diffusion_serving.engine.cost_curve import CostCurve


@dataclass(frozen=True, slots=True)
class Startup:
    """The seconds that an engine's start took, and the speed of its pipeline alone.

    `bare` has the images and the seconds of one call for each batch size up to the cap; it is empty
    where the calls would have kept a server from being ready for long. `curve` is None where the
    pipeline has no step loop.
    """

    load_seconds: float
    warm_up_seconds: float
    timing_seconds: float
    bare: tuple[tuple[int, float], ...]
    curve: CostCurve | None = None


class State(enum.Enum):
    """The state of an engine."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"
