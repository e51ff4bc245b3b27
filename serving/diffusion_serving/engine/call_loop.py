"""The loop of an engine that makes whole calls: one batch in each turn."""

import time
from collections.abc import Sequence
from dataclasses import replace

from diffusion_serving.engine.batching import Batching, next_batch
from diffusion_serving.engine.errors import NotReady
from diffusion_serving.engine.queued_request import QueuedRequest, Result
from diffusion_serving.engine.request_queue import Choice, RequestQueue
from diffusion_serving.engine.runner import BatchRunner
from diffusion_serving.observability.metrics import Metrics

_RECENT = 0.2
"""The weight of the last batch in the moving average of the speed."""


class CallLoop:
    """The batches of a pipeline that has no step loop, or whose service has no batching."""

    def __init__(
        self, runner: BatchRunner, queue: RequestQueue, metrics: Metrics, batching: Batching
    ) -> None:
        self._runner = runner
        self._queue = queue
        self._metrics = metrics
        self._batching = batching

    def turn(self) -> bool:
        """Waits for a batch and generates it; False once the queue is closed and empty.

        Raises:
            DeviceLost: the device cannot be used any more.

        """
        batch = self._queue.take(self._choose)
        if batch is None:
            return False
        # Marks the futures as running, after which they cannot be cancelled any more.
        started = [each for each in batch if each.future.set_running_or_notify_cancel()]
        if started:
            self._execute(started)
        return True

    def _choose(
        self, waiting: Sequence[QueuedRequest], now: float, stopping: bool
    ) -> Choice[Sequence[QueuedRequest]]:
        batching = self._batching
        if stopping:  # no new request can fill a batch any more
            batching = replace(batching, max_wait=0.0)
        batch, due = next_batch(waiting, batching, self._runner.cap, now)
        return batch or None, batch, due

    def _execute(self, batch: Sequence[QueuedRequest]) -> None:
        begin = time.monotonic()
        work = sum(queued.request.work for queued in batch)
        for queued in batch:
            self._metrics.queue_seconds.observe(begin - queued.submitted)
        try:
            self._runner.execute(batch)
        except BaseException:
            for queued in batch:
                queued.future.set_exception(NotReady("The device failed; the server is ending."))
            raise
        # A moving average, so that one slow request does not send clients away for long.
        seconds = (time.monotonic() - begin) / work
        self._queue.seconds_per_work += _RECENT * (seconds - self._queue.seconds_per_work)
        finished = []
        for queued in batch:
            outcome = queued.outcome()
            if isinstance(outcome, Result):
                queue_seconds = begin - queued.submitted
                finished.append((queued, replace(outcome, queue_seconds=queue_seconds)))
            else:
                queued.future.set_exception(outcome)
        self._runner.check.answer(finished)
