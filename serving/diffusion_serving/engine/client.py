"""The seam between the HTTP surface and whoever makes the images.

The engine may be a thread of this process or live in another one, behind a link or a framework's
queue. The surface can't tell.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Metric

from diffusion_serving.engine import BatchRunner, Engine, Result, Startup, State
from diffusion_serving.engine.generation import Generation, OnStep
from diffusion_serving.observability.metrics import Metrics


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model says about itself: plain data, which can cross a process boundary.

    `native_size` is the width and height in pixels that the model was trained for.
    """

    device: str
    device_name: str
    dtype: str
    native_size: tuple[int, int]
    startup: Startup

    @classmethod
    def of(cls, runner: BatchRunner) -> "ModelInfo":
        pipeline = runner.pipeline
        return cls(
            device=pipeline.device,
            device_name=pipeline.device_name,
            dtype=pipeline.dtype,
            native_size=pipeline.native_size,
            startup=runner.startup,
        )


class Maker(Protocol):
    """Makes images, for coroutines of one event loop."""

    @property
    def state(self) -> State:
        """Of all engines together: ready when all are."""

    @property
    def alive(self) -> bool:
        """False once an engine has ended, whatever the reason."""

    @property
    def model(self) -> ModelInfo | None:
        """None until the model has loaded."""

    async def run(self, generation: Generation, on_step: OnStep | None = None) -> Result:
        """Makes the images of one request, and tells of each step on the event loop's thread.

        Cancelling it withdraws what has not started; what has is finished for nobody.

        Raises:
            RequestError: why there are no images.

        """

    async def metrics(self) -> Sequence[Metric]:
        """The metrics that other processes keep; none where all are this one's."""


class EngineMaker:
    """The maker whose engine is in this process."""

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

    async def run(self, generation: Generation, on_step: OnStep | None = None) -> Result:
        job = self._engine.submit(generation, handed_over(on_step))
        done = asyncio.wrap_future(job.future)
        try:
            # Waiting for the future, unlike awaiting it, doesn't cancel the job before `withdraw`.
            await asyncio.wait({done}, timeout=max(0.0, job.deadline - time.monotonic()))
            if not done.done():
                self._engine.expire(job)
                await asyncio.wait({done})
            return done.result()
        except asyncio.CancelledError:
            if self._engine.withdraw(job):
                self._metrics.rejected.labels("hang_up").inc()
            done.cancel()
            raise

    async def metrics(self) -> Sequence[Metric]:
        return ()


def handed_over(on_step: OnStep | None) -> OnStep | None:
    """Calls a function of the event loop's thread from the engine's."""
    if on_step is None:
        return None
    loop = asyncio.get_running_loop()

    def hand_over(step: int, steps: int) -> None:
        loop.call_soon_threadsafe(on_step, step, steps)

    return hand_over
