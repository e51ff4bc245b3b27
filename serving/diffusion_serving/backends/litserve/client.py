"""What LitServe's queues need around them."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from diffusion_serving.config import Batching, Queue
from diffusion_serving.engine import Outcome, Result
from diffusion_serving.engine.generation import Generation, OnStep
from diffusion_serving.engine_process.clients import Carry, FleetMaker, Lane
from diffusion_serving.engine_process.messages import Ticket
from diffusion_serving.engine_process.worker import failed
from diffusion_serving.observability.errors import DeadlineExceeded, QueueFull
from diffusion_serving.observability.metrics import Metrics


class QueueingMaker(FleetMaker):
    """The maker in front of LitServe's own batching, whose queue has neither bound nor deadline."""

    def __init__(
        self, lanes: Sequence[Lane], queue: Queue, batching: Batching, metrics: Metrics
    ) -> None:
        super().__init__(lanes)
        self._queue = queue
        self._batch_size = batching.max_size
        self._metrics = metrics
        self._batch_seconds = 1.0
        metrics.queue_length.set_function(lambda: self.queue_length)

    @property
    def queue_length(self) -> int:
        """Requests that no worker has started."""
        return sum(call.waits for call in list(self._calls.values()))

    async def run(self, generation: Generation, on_step: OnStep | None = None) -> Result:
        if (waiting := self.queue_length) >= self._queue.max_length:
            wait = retry_after(waiting, self._batch_size, self._batch_seconds)
            raise QueueFull(self._queue.max_length, wait)
        call = self._submit(generation, on_step)
        timeout = self._queue.timeout_seconds
        try:
            ends: set[asyncio.Future[Any]] = {call.answer, call.started, self.fleet.lost}
            await asyncio.wait(ends, timeout=timeout, return_when="FIRST_COMPLETED")
            if call.waits and not self.fleet.lost.done():
                call.withdraw()
                raise DeadlineExceeded(timeout)
            result = await self._outcome(call)
        except asyncio.CancelledError:
            if call.waits:
                self._metrics.rejected.labels("hang_up").inc()
            call.withdraw()
            raise
        seconds = result.text_encoder_seconds + result.denoise_seconds + result.vae_seconds
        # A moving average, so that one slow request does not send clients away for long.
        self._batch_seconds += 0.2 * (seconds - self._batch_seconds)
        return result


def retry_after(waiting: int, batch_size: int, batch_seconds: float) -> int:
    """Whole seconds until about half of what waits is done, at least 1."""
    return max(1, math.ceil(waiting / 2 / batch_size * batch_seconds))


def carry(handle: Callable[[Ticket, type[Ticket]], Coroutine[Any, Any, Any]]) -> Carry:
    """How LitServe's own request handler takes a ticket to a worker and brings its outcome."""

    async def through_litserve(ticket: Ticket) -> Outcome:
        try:
            outcome: Outcome = await handle(ticket, Ticket)
        except Exception as error:  # noqa: BLE001 - its hooks raise nothing, so it is a defect
            return failed("LitServe failed on a request", error)
        return outcome

    return through_litserve
