"""The engine client in front of LitServe's queues."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from diffusion_serving.documents.serving_config import Batching, Queue
from diffusion_serving.engine import Outcome, Result
from diffusion_serving.engine.errors import DeadlineExceeded, QueueFull
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine_process.clients import Dispatch, EnginePool, WorkerQueue
from diffusion_serving.engine_process.messages import Generate, RequestEvent, Started
from diffusion_serving.engine_process.worker import unhandled
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.settings import Settings


class BoundedEnginePool(EnginePool):
    """The client of LitServe's own batching, whose queue has neither bound nor deadline."""

    def __init__(
        self,
        queues: Sequence[WorkerQueue],
        queue: Queue,
        batching: Batching,
        metrics: Metrics,
        silence: float = Settings.silence_seconds,
    ) -> None:
        super().__init__(queues, silence=silence)
        self._queue = queue
        self._batch_size = batching.usual_size
        self._metrics = metrics
        self._batch_seconds = 1.0
        self._waiting: dict[int, asyncio.Future[None]] = {}
        """Futures of the start of each request that no worker has started, by its number."""
        metrics.queue_length.set_function(lambda: self.queue_length)

    @property
    def queue_length(self) -> int:
        """Requests that no worker has started."""
        return len(self._waiting)

    async def run(self, request: ImageRequest, on_step: OnStep | None = None) -> Result:
        if (waiting := self.queue_length) >= self._queue.max_length:
            wait = retry_after(waiting, self._batch_size, self._batch_seconds)
            raise QueueFull(self._queue.max_length, wait)
        number, outcome = self._dispatch(request, on_step)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = started
        outcome.add_done_callback(lambda _: self._waiting.pop(number, None))
        timeout = self._queue.timeout_seconds
        try:
            ends: set[asyncio.Future[Any]] = {outcome, started, self.workers.lost}
            await asyncio.wait(ends, timeout=timeout, return_when="FIRST_COMPLETED")
            if number in self._waiting and not self.workers.lost.done():
                self._cancel(number)
                raise DeadlineExceeded(timeout)
            result = await self._result(outcome)
        except asyncio.CancelledError:
            if number in self._waiting:
                self._metrics.rejected.labels("hang_up").inc()
            self._cancel(number)
            raise
        seconds = result.text_encoder_seconds + result.denoise_seconds + result.vae_seconds
        # A moving average, so that one slow request does not send clients away for long.
        self._batch_seconds += 0.2 * (seconds - self._batch_seconds)
        return result

    def _cancel(self, number: int) -> None:
        self._waiting.pop(number, None)
        super()._cancel(number)

    def _on_event(self, event: RequestEvent) -> None:
        if isinstance(event, Started):
            for number in event.numbers:
                if (started := self._waiting.pop(number, None)) is not None:
                    started.set_result(None)
        super()._on_event(event)


def retry_after(waiting: int, batch_size: int, batch_seconds: float) -> int:
    """Whole seconds until about half of the queue is done, at least 1."""
    return max(1, math.ceil(waiting / 2 / batch_size * batch_seconds))


def dispatch_by(handle: Callable[[Generate, type[Generate]], Coroutine[Any, Any, Any]]) -> Dispatch:
    """Returns the dispatch through LitServe's own request handler."""

    async def through_litserve(command: Generate) -> Outcome:
        try:
            outcome: Outcome = await handle(command, Generate)
        except Exception as error:  # noqa: BLE001 - its hooks raise nothing
            return unhandled("LitServe failed on a request", error)
        return outcome

    return through_litserve
