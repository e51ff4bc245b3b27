"""What the HTTP process and a worker tell each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Metric

from diffusion_serving.engine import Outcome
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine.generation import Generation
from diffusion_serving.engine_process.link import Line, Link
from diffusion_serving.observability.errors import StartupError


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request on its way to a worker.

    `number` grows from request to request. `submitted` is of `time.monotonic`, which all processes
    of a machine share.
    """

    number: int
    submitted: float
    generation: Generation
    wants_steps: bool


@dataclass(frozen=True, slots=True)
class Up:
    """From a worker: it listens."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: its model has loaded and made a warm-up image."""

    model: ModelInfo


@dataclass(frozen=True, slots=True)
class Failed:
    """From a worker: it can't make images, now or any more."""

    error: StartupError


@dataclass(frozen=True, slots=True)
class Started:
    """From a worker: these tickets are being made."""

    numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class Stepped:
    """From a worker: a ticket has come this far."""

    number: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class Made:
    """From a worker that was sent a ticket over the link: what became of it."""

    number: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Measured:
    """From a worker, as asked: its metrics."""

    question: int
    families: Sequence[Metric]


@dataclass(frozen=True, slots=True)
class Make:
    """To a worker, where no framework carries tickets: make this."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Withdraw:
    """To a worker: nobody waits for this ticket any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Measure:
    """To a worker: what are your metrics?"""

    question: int


@dataclass(frozen=True, slots=True)
class End:
    """To a worker: end now, whatever you are doing."""


Told = Up | Ready | Failed | Started | Stepped | Made | Measured | Line
Asked = Make | Withdraw | Measure | End
WorkerLink = Link[Asked, Told]
"""The HTTP process's end of a worker's link."""
