"""The engine client in front of Ray Serve's own batching."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from prometheus_client import Metric
from ray import serve

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine import BatchRunner, Outcome, Result, State
from diffusion_serving.engine.client import ModelInfo, on_event_loop
from diffusion_serving.engine.errors import DeadlineExceeded, NotReady, QueueFull
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine_process.watchdog import call_hangs
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import StartupError

_WATCH_SECONDS = 1.0


@dataclass(eq=False)
class _WaitingRequest:
    """A request in Serve's queue. `started` belongs to the event loop."""

    request: ImageRequest
    submitted: float
    on_step: OnStep | None
    started: "asyncio.Future[None]"
    cancelled: bool = False


class FrameworkBatchingClient:
    """The client that passes requests through `@serve.batch` to the pipeline, on one thread.

    Serve's queue has neither a bound nor a deadline, so both are kept here.

    Args:
        load: loads and warms up; called on the pipeline's thread.
        calls: the device's, one of which may hang.

    """

    def __init__(
        self,
        config: ServingConfig,
        metrics: Metrics,
        load: Callable[[], BatchRunner],
        calls: DeviceCalls,
    ) -> None:
        self._queue = config.queue
        self._batch_size = config.batching.usual_size
        self._metrics = metrics
        self._load = load
        self._calls = calls
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the device is lost: the outcomes of its requests won't come."""
        # Not on the event loop, where Serve's documentation has it: probes are answered there.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pipeline")
        self._waiting: set[_WaitingRequest] = set()
        self._state = State.LOADING
        self._batch_seconds = 1.0
        self._batched = serve.batch(
            max_batch_size=config.batching.usual_size,
            batch_wait_timeout_s=config.batching.max_wait_milliseconds / 1000,
        )(self._run)
        self.ready: Future[BatchRunner] = Future()
        self.ended: Future[None] = Future()
        metrics.queue_length.set_function(lambda: len(self._waiting))

    def start(self) -> None:
        """Starts to load. `ready` holds a `StartupError` if that fails."""
        self._thread.submit(self._start)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        """Notices a device call that does not come back."""
        while self._state is not State.FAILED:
            await asyncio.sleep(_WATCH_SECONDS)
            call = self._calls.running
            if self._state is State.READY and call and call.overdue(time.monotonic()):
                self._fail(call_hangs(call))

    def _fail(self, error: StartupError) -> None:
        self._state = State.FAILED
        if not self.ended.done():
            self.ended.set_exception(error)
            self._lost.set_result(None)

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

    async def run(self, request: ImageRequest, on_step: OnStep | None = None) -> Result:
        if self._state is not State.READY:
            raise NotReady("The model is not there.")
        if (waiting := len(self._waiting)) >= self._queue.max_length:
            seconds = waiting / 2 / self._batch_size * self._batch_seconds
            raise QueueFull(self._queue.max_length, max(1, math.ceil(seconds)))
        started = asyncio.get_running_loop().create_future()
        queued = _WaitingRequest(request, time.monotonic(), on_event_loop(on_step), started)
        self._waiting.add(queued)
        finished = asyncio.ensure_future(self._batched(queued))
        try:
            ends: set[asyncio.Future[Any]] = {finished, started, self._lost}
            await asyncio.wait(
                ends,
                timeout=self._queue.timeout_seconds,
                return_when="FIRST_COMPLETED",
            )
            if not any(end.done() for end in ends):
                queued.cancelled = True
                raise DeadlineExceeded(self._queue.timeout_seconds)
            ends = {finished, self._lost}
            await asyncio.wait(ends, return_when="FIRST_COMPLETED")
            if not finished.done():
                raise NotReady("The server is stopping: its device does not come back.")
            outcome = finished.result()
        except asyncio.CancelledError:
            if not started.done():
                self._metrics.rejected.labels("hang_up").inc()
            queued.cancelled = True
            raise
        finally:
            self._waiting.discard(queued)
        if isinstance(outcome, Result):
            return outcome
        raise outcome

    async def _run(self, batch: list[_WaitingRequest]) -> list[Outcome]:
        """Runs the batch that `@serve.batch` formed."""
        begin = time.monotonic()
        active = [queued for queued in batch if not queued.cancelled]
        for queued in active:
            self._waiting.discard(queued)
            queued.started.set_result(None)
            self._metrics.queue_seconds.observe(begin - queued.submitted)
        outcomes: dict[_WaitingRequest, Outcome] = {}
        if active:
            loop = asyncio.get_running_loop()
            try:
                finished = await loop.run_in_executor(self._thread, self._generate, active)
            except StartupError as error:  # the device is lost, and with it this replica
                self._fail(error)
                finished = [NotReady("The server has lost its device.")] * len(active)
            outcomes = dict(zip(active, finished, strict=True))
            # A moving average, so that one slow batch does not send clients away for long.
            self._batch_seconds += 0.2 * (time.monotonic() - begin - self._batch_seconds)
        cancelled = NotReady("The client has left.")
        return [
            _with_queue_time(outcomes.get(queued, cancelled), begin - queued.submitted)
            for queued in batch
        ]

    def _generate(self, batch: Sequence[_WaitingRequest]) -> list[Outcome]:
        runner, requests = self.ready.result(), [queued.request for queued in batch]
        outcomes = runner.run(requests, [queued.on_step for queued in batch])
        return runner.check.applied(requests, outcomes)


def _with_queue_time(outcome: Outcome, seconds: float) -> Outcome:
    return replace(outcome, queue_seconds=seconds) if isinstance(outcome, Result) else outcome
