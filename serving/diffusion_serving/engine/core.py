"""The engine: its queue, the thread that owns the device, and its life from start to end."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from diffusion_serving.engine.batching import Batching, next_batch
from diffusion_serving.engine.device_calls import DeviceCalls
from diffusion_serving.engine.errors import DeadlineExceeded, NotReady, QueueFull, RequestError
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.lifecycle import State
from diffusion_serving.engine.pipeline_interface import OnStep, Pipeline
from diffusion_serving.engine.queued_request import QueuedRequest, Result
from diffusion_serving.engine.runner import BatchRunner, start_runner
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import StartupError


class Engine:
    """A queue in front of one device, and the thread that owns the device.

    Args:
        load: loads the pipeline, on the engine's thread.
        warm_up: returns the request that must succeed before the engine is ready.
        max_queue: requests that may wait.
        queue_timeout: seconds that a request may wait before it starts.
        batching: the rules by which batches are formed.
        timed: whether the pipeline is timed alone before the engine is ready.

    """

    def __init__(
        self,
        load: Callable[[], Pipeline],
        warm_up: Callable[[Pipeline], ImageRequest],
        *,
        max_queue: int,
        queue_timeout: float,
        metrics: Metrics,
        batching: Batching | None = None,
        timed: bool = False,
    ) -> None:
        self._load = load
        self._warm_up = warm_up
        self._max_queue = max_queue
        self._queue_timeout = queue_timeout
        self._metrics = metrics
        self._batching = batching or Batching()
        self._timed = timed
        self._changed = threading.Condition()
        self._waiting: deque[QueuedRequest] = deque()
        self._state = State.LOADING
        self._stopping = False
        self._seconds_per_request = 1.0
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self.calls = DeviceCalls()
        """The device's call in progress, for a watchdog on another thread."""
        self.ready: Future[BatchRunner] = Future()
        """Resolves once the warm-up has succeeded; holds a `StartupError` if it failed.

        The runner is there to be read, not to be called.
        """
        self.ended: Future[None] = Future()
        """Resolves after `stop`, when all requests are done; holds the cause of any other end."""
        metrics.queue_length.set_function(lambda: self.queue_length)

    def start(self) -> None:
        self._thread.start()

    @property
    def state(self) -> State:
        return self._state

    @property
    def alive(self) -> bool:
        """False once the engine's thread has ended, for any reason."""
        return self._thread.is_alive()

    @property
    def runner(self) -> BatchRunner | None:
        """The runner, to be read and not to be called; None until the engine is ready."""
        return self.ready.result() if self._state is State.READY else None

    @property
    def queue_length(self) -> int:
        return len(self._waiting)

    def submit(self, request: ImageRequest, on_step: OnStep | None = None) -> QueuedRequest:
        """Puts a request in the queue.

        Args:
            request: the images to generate.
            on_step: called after each denoising step, on the engine's thread.

        Raises:
            NotReady: the model has not loaded, or the engine has stopped.
            QueueFull: no place is left.

        """
        now = time.monotonic()
        queued = QueuedRequest(request, now, now + self._queue_timeout, on_step)
        with self._changed:
            if self._state is not State.READY or self._stopping:
                raise NotReady(_why_not_ready(self._state))
            self._drop_expired(now)
            if len(self._waiting) >= self._max_queue:
                raise QueueFull(self._max_queue, self._retry_after())
            self._waiting.append(queued)
            self._changed.notify()
        return queued

    def cancel(self, queued: QueuedRequest) -> bool:
        """Removes a request from the queue and cancels its future; False if it has left it."""
        return self._remove(queued) and queued.future.cancel()

    def expire(self, queued: QueuedRequest) -> bool:
        """Fails a waiting request with `DeadlineExceeded`; False if it has left the queue."""
        if not self._remove(queued):
            return False
        _fail(queued, DeadlineExceeded(self._queue_timeout))
        return True

    def stop(self, timeout: float | None = None) -> bool:
        """Refuses new requests, finishes the queue, and ends. True if it ended in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _remove(self, queued: QueuedRequest) -> bool:
        with self._changed:
            try:
                self._waiting.remove(queued)
            except ValueError:
                return False
        return True

    def _run(self) -> None:
        """The life of the engine's thread."""
        cause: BaseException | None = None
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - the reader of `ended` raises it
            cause = error
        self._end(cause)

    def _serve(self) -> None:
        try:
            runner = start_runner(
                self._load,
                self._warm_up,
                max_images=self._batching.max_images,
                metrics=self._metrics,
                timed=self._timed,
                calls=self.calls,
            )
        except StartupError as error:
            self._state = State.FAILED
            self.ready.set_exception(error)
            return
        self._seconds_per_request = runner.seconds_per_image
        self._state = State.READY
        self.ready.set_result(runner)
        while batch := self._next_batch(runner):
            self._execute(runner, batch)

    def _end(self, cause: BaseException | None) -> None:
        """Fails the requests that still wait, and resolves `ended`."""
        with self._changed:
            if cause is not None:
                self._state = State.FAILED
                self._stopping = True
            elif self._state is not State.FAILED:
                self._state = State.STOPPED
            abandoned = list(self._waiting)
            self._waiting.clear()
        for queued in abandoned:
            _fail(queued, NotReady(_why_not_ready(self._state)))
        if cause is not None:
            self.ended.set_exception(cause)
        else:
            self.ended.set_result(None)

    def _next_batch(self, runner: BatchRunner) -> Sequence[QueuedRequest]:
        """Waits for the next batch; empty when the engine has stopped and the queue is empty."""
        with self._changed:
            while True:
                now = time.monotonic()
                self._drop_expired(now)
                batching = self._batching
                if self._stopping:  # no new request can fill a batch any more
                    batching = replace(batching, max_wait=0.0)
                batch, due = next_batch(self._waiting, batching, runner.cap, now)
                if batch:
                    taken = set(map(id, batch))
                    self._waiting = deque(each for each in self._waiting if id(each) not in taken)
                    return batch
                if self._stopping:
                    return ()
                self._changed.wait(None if math.isinf(due) else due - now)

    def _drop_expired(self, now: float) -> None:
        """Fails the requests that are past their deadline. Needs the lock."""
        while self._waiting and self._waiting[0].deadline <= now:
            _fail(self._waiting.popleft(), DeadlineExceeded(self._queue_timeout))

    def _retry_after(self) -> int:
        """Whole seconds until about half of the queue is done. Needs the lock."""
        return max(1, math.ceil(len(self._waiting) / 2 * self._seconds_per_request))

    def _execute(self, runner: BatchRunner, batch: Sequence[QueuedRequest]) -> None:
        # Marks the futures as running, after which they cannot be cancelled any more.
        batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
        if not batch:
            return
        begin = time.monotonic()
        for queued in batch:
            self._metrics.queue_seconds.observe(begin - queued.submitted)
        try:
            runner.execute(batch)
        except BaseException:
            for queued in batch:
                queued.future.set_exception(NotReady("The device failed; the server is ending."))
            raise
        seconds = (time.monotonic() - begin) / len(batch)
        # A moving average, so that one slow request does not send clients away for long.
        self._seconds_per_request += 0.2 * (seconds - self._seconds_per_request)
        for queued in batch:
            outcome = queued.outcome()
            if isinstance(outcome, Result):
                queue_seconds = begin - queued.submitted
                queued.future.set_result(replace(outcome, queue_seconds=queue_seconds))
            else:
                queued.future.set_exception(outcome)


def _fail(queued: QueuedRequest, error: RequestError) -> None:
    """Fails a request that has not started, unless its caller has left."""
    if queued.future.set_running_or_notify_cancel():
        queued.future.set_exception(error)


def _why_not_ready(state: State) -> str:
    match state:
        case State.LOADING:
            return "The model is still loading."
        case State.FAILED:
            return "The engine cannot serve any more; the server is about to exit."
        case _:
            return "The server is stopping."
