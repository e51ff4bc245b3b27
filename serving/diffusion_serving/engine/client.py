"""The engine's client: the seam between the HTTP surface and the engine.

The engine may be a thread of this process or run in another one, behind a link or a framework's
queue. The surface does not know which.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from prometheus_client import Metric

from diffusion_serving.engine.core import Engine
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.lifecycle import Startup, State
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine.queued_request import Result
from diffusion_serving.engine.runner import BatchRunner
from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.observability.metrics import Metrics


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A loaded model's own facts: plain data, which can cross a process boundary.

    `native_size` is the width and height in pixels that the model was trained for.
    """

    device: str
    device_name: str
    dtype: str
    native_size: tuple[int, int]
    startup: Startup
    scheduled: Literal["steps", "calls"] = "calls"
    """The unit of work that the engine schedules."""
    checker: str | None = None
    """The name of the safety checker; None where pictures are not checked."""

    @classmethod
    def of(cls, runner: BatchRunner | StepRunner) -> "ModelInfo":
        pipeline = runner.pipeline
        return cls(
            device=pipeline.device,
            device_name=pipeline.device_name,
            dtype=pipeline.dtype,
            native_size=pipeline.native_size,
            startup=runner.startup,
            scheduled="steps" if isinstance(runner, StepRunner) else "calls",
            checker=runner.check.name,
        )


class EngineClient(Protocol):
    """Generates images for coroutines of one event loop."""

    @property
    def state(self) -> State:
        """The state of all engines together: ready when all are."""

    @property
    def alive(self) -> bool:
        """False once an engine has ended, for any reason."""

    @property
    def model(self) -> ModelInfo | None:
        """The loaded model; None until it has loaded."""

    async def run(self, request: ImageRequest, on_step: OnStep | None = None) -> Result:
        """Generates the images of one request; calls `on_step` on the event loop's thread.

        Cancelling it removes a waiting request from the queue, and a running one at its next step;
        where the engine schedules whole calls, a running one completes and is discarded.

        Raises:
            RequestError: the reason why there are no images.

        """

    async def metrics(self) -> Sequence[Metric]:
        """The metrics of other processes; none where the engine is in this one."""


class LocalEngineClient:
    """The client of an engine in this process."""

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    @property
    def state(self) -> State:
        return self._engine.state

    @property
    def alive(self) -> bool:
        return self._engine.alive

    @property
    def model(self) -> ModelInfo | None:
        runner = self._engine.runner
        return None if runner is None else ModelInfo.of(runner)

    async def run(self, request: ImageRequest, on_step: OnStep | None = None) -> Result:
        queued = self._engine.submit(request, on_event_loop(on_step))
        done = asyncio.wrap_future(queued.future)
        try:
            # Waiting for the future, unlike awaiting it, doesn't cancel it before `cancel` below.
            await asyncio.wait({done}, timeout=max(0.0, queued.deadline - time.monotonic()))
            if not done.done():
                self._engine.expire(queued)
                await asyncio.wait({done})
            return done.result()
        except asyncio.CancelledError:
            if self._engine.cancel(queued):
                self._metrics.rejected.labels("hang_up").inc()
            done.cancel()
            raise

    async def metrics(self) -> Sequence[Metric]:
        return ()


def on_event_loop(on_step: OnStep | None) -> OnStep | None:
    """Wraps a listener so that the engine's thread calls it on the running event loop."""
    if on_step is None:
        return None
    loop = asyncio.get_running_loop()

    def call_on_loop(step: int, steps: int) -> None:
        loop.call_soon_threadsafe(on_step, step, steps)

    return call_on_loop
