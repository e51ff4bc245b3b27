"""Messages between the HTTP process and a worker: commands one way, events the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Metric

from diffusion_serving.engine import Outcome
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine_process.link import LogLine, PatientLink
from diffusion_serving.observability.device_calls import DeviceCall
from diffusion_serving.observability.startup_errors import StartupError


@dataclass(frozen=True, slots=True)
class Generate:
    """Command: generate the images of a request. A link or a framework's queue carries it.

    `number` grows from request to request. `submitted` is of `time.monotonic`, which all processes
    of a machine share.
    """

    number: int
    submitted: float
    request: ImageRequest
    wants_steps: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Command: stop a request, whose client has left."""

    number: int


@dataclass(frozen=True, slots=True)
class CollectMetrics:
    """Command: send the worker's metrics."""

    query: int


@dataclass(frozen=True, slots=True)
class CheckAlive:
    """Command: send `Alive`."""


@dataclass(frozen=True, slots=True)
class Exit:
    """Command: exit at once; running requests are discarded."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Event: the worker receives commands."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Event: the model has loaded and its warm-up image is done."""

    model: ModelInfo


@dataclass(frozen=True, slots=True)
class Failed:
    """Event: the worker cannot generate images, now or any more."""

    error: StartupError


@dataclass(frozen=True, slots=True)
class Started:
    """Event: the batch of these requests has started."""

    numbers: Sequence[int]


@dataclass(frozen=True, slots=True)
class StepDone:
    """Event: a denoising step of a request is done."""

    number: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class StepsEnded:
    """Event: the last `StepDone` of a request that wants its steps has been sent."""

    number: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Event: the outcome of a request that came over the link."""

    number: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class MetricsCollected:
    """Event: the worker's metrics, in answer to `CollectMetrics`."""

    query: int
    families: Sequence[Metric]


@dataclass(frozen=True, slots=True)
class Alive:
    """Event: the worker runs, in answer to `CheckAlive`. `call` is the device call it is in."""

    call: DeviceCall | None


WorkerCommand = Generate | Cancel | CollectMetrics | CheckAlive | Exit
RequestEvent = Started | StepDone | StepsEnded | Finished | LogLine
"""Events of single requests, and the lines of the workers' logs."""
WorkerEvent = Listening | Ready | Failed | Alive | MetricsCollected | RequestEvent
WorkerLink = PatientLink[WorkerCommand, WorkerEvent]
"""The HTTP process's end of a worker's link."""
