"""A maker in front of Ray Serve's own batching."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from prometheus_client import Metric
from ray import serve

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine import BatchRunner, Outcome, Result, State
from diffusion_serving.engine.client import ModelInfo, handed_over
from diffusion_serving.engine.generation import Generation, OnStep
from diffusion_serving.observability.errors import (
    DeadlineExceeded,
    NotReady,
    QueueFull,
    StartupError,
)
from diffusion_serving.observability.metrics import Metrics


@dataclass(eq=False)
class _Place:
    """One request in Serve's queue. `started` belongs to the event loop."""

    generation: Generation
    submitted: float
    on_step: OnStep | None
    started: "asyncio.Future[None]"
    withdrawn: bool = False


class BatchingMaker:
    """Requests go through `@serve.batch` to the pipeline, which has one thread.

    That queue has neither a bound nor a deadline, so both are kept here.

    Args:
        load: loads and warms up; called on the pipeline's thread.

    """

    def __init__(
        self, config: ServingConfig, metrics: Metrics, load: Callable[[], BatchRunner]
    ) -> None:
        self._queue = config.queue
        self._batch_size = config.batching.max_size
        self._metrics = metrics
        self._load = load
        # Not on the event loop, where Serve's documentation has it: probes are answered there.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pipeline")
        self._waiting: set[_Place] = set()
        self._state = State.LOADING
        self._batch_seconds = 1.0
        self._batched = serve.batch(
            max_batch_size=config.batching.max_size,
            batch_wait_timeout_s=config.batching.max_wait_milliseconds / 1000,
        )(self._run)
        self.ready: Future[BatchRunner] = Future()
        self.ended: Future[None] = Future()
        metrics.queue_length.set_function(lambda: len(self._waiting))

    def start(self) -> None:
        """Begins to load. `ready` holds a `StartupError` if that fails."""
        self._thread.submit(self._start)

    def _start(self) -> None:
        try:
            runner = self._load()
        except StartupError as error:
            self._state = State.FAILED
            self.ready.set_exception(error)
        else:
            self._state = State.READY
            self.ready.set_result(runner)

    @property
    def state(self) -> State:
        return self._state

    @property
    def alive(self) -> bool:
        return self._state is not State.FAILED

    @property
    def model(self) -> ModelInfo | None:
        return ModelInfo.of(self.ready.result()) if self._state is State.READY else None

    async def metrics(self) -> Sequence[Metric]:
        return ()

    async def run(self, generation: Generation, on_step: OnStep | None = None) -> Result:
        if self._state is not State.READY:
            raise NotReady("The model is not there.")
        if (waiting := len(self._waiting)) >= self._queue.max_length:
            seconds = waiting / 2 / self._batch_size * self._batch_seconds
            raise QueueFull(self._queue.max_length, max(1, math.ceil(seconds)))
        started = asyncio.get_running_loop().create_future()
        place = _Place(generation, time.monotonic(), handed_over(on_step), started)
        self._waiting.add(place)
        made = asyncio.ensure_future(self._batched(place))
        try:
            await asyncio.wait(
                {made, started}, timeout=self._queue.timeout_seconds, return_when="FIRST_COMPLETED"
            )
            if not made.done() and not started.done():
                place.withdrawn = True
                raise DeadlineExceeded(self._queue.timeout_seconds)
            outcome = await made
        except asyncio.CancelledError:
            if not started.done():
                self._metrics.rejected.labels("hang_up").inc()
            place.withdrawn = True
            raise
        finally:
            self._waiting.discard(place)
        if isinstance(outcome, Result):
            return outcome
        raise outcome

    async def _run(self, places: list[_Place]) -> list[Outcome]:
        """What `@serve.batch` calls with the requests that it put together."""
        begin = time.monotonic()
        wanted = [place for place in places if not place.withdrawn]
        for place in wanted:
            self._waiting.discard(place)
            place.started.set_result(None)
            self._metrics.queue_seconds.observe(begin - place.submitted)
        outcomes: dict[_Place, Outcome] = {}
        if wanted:
            loop = asyncio.get_running_loop()
            try:
                made = await loop.run_in_executor(self._thread, self._make, wanted)
            except StartupError as error:  # the device is lost, and with it this replica
                self._state = State.FAILED
                if not self.ended.done():
                    self.ended.set_exception(error)
                made = [NotReady("The server has lost its device.")] * len(wanted)
            outcomes = dict(zip(wanted, made, strict=True))
            # A moving average, so that one slow batch does not send clients away for long.
            self._batch_seconds += 0.2 * (time.monotonic() - begin - self._batch_seconds)
        nobody = NotReady("Nobody waits for this any more.")
        return [_waited(outcomes.get(place, nobody), begin - place.submitted) for place in places]

    def _make(self, places: Sequence[_Place]) -> list[Outcome]:
        return self.ready.result().run(
            [place.generation for place in places], [place.on_step for place in places]
        )


def _waited(outcome: Outcome, seconds: float) -> Outcome:
    return replace(outcome, queue_seconds=seconds) if isinstance(outcome, Result) else outcome
