"""The queue, the threads that own the devices, and their life from loading to the end."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from diffusion_serving.engine.batching import Batching, next_batch
from diffusion_serving.engine.generation import Generation, OnStep, Pipeline
from diffusion_serving.engine.jobs import Job, Result, State
from diffusion_serving.engine.runner import BatchRunner, start_runner
from diffusion_serving.observability.errors import (
    DeadlineExceeded,
    NotReady,
    QueueFull,
    RequestError,
    StartupError,
)
from diffusion_serving.observability.metrics import Metrics


class Engine:
    """One queue in front of one or several devices, each with a thread that owns it.

    Args:
        load: makes the pipeline of the device with that index, on its owner's thread.
        warm_up: the generation that must succeed before the engine is ready, given the pipeline.
        max_queue: jobs that may wait.
        queue_timeout: seconds that a job may wait before it starts.
        batching: how waiting jobs are put together.
        devices: how many.
        timed: whether each device's pipeline is timed alone before it is ready.

    """

    def __init__(
        self,
        load: Callable[[int], Pipeline],
        warm_up: Callable[[Pipeline], Generation],
        *,
        max_queue: int,
        queue_timeout: float,
        metrics: Metrics,
        batching: Batching | None = None,
        devices: int = 1,
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
        self._waiting: deque[Job] = deque()
        self._runners: list[BatchRunner] = []
        self._state = State.LOADING
        self._stopping = False
        self._seconds_per_job = 1.0
        self._owners = [
            threading.Thread(target=self._own, args=(index,), name=f"device-{index}", daemon=True)
            for index in range(devices)
        ]
        self._left = devices
        self.ready: Future[BatchRunner] = Future()
        """The first device's runner, only to be asked about itself, when each has warmed up.

        Holds a `StartupError` if one failed.
        """
        self.ended: Future[None] = Future()
        """Resolves when all is done after `stop`; holds what ended the engine otherwise."""
        metrics.queue_length.set_function(lambda: self.queue_length)

    def start(self) -> None:
        for owner in self._owners:
            owner.start()

    @property
    def state(self) -> State:
        return self._state

    @property
    def alive(self) -> bool:
        """False once a device's thread has ended, whatever the reason."""
        return all(owner.is_alive() for owner in self._owners)

    @property
    def runner(self) -> BatchRunner | None:
        """The first device's, only to be asked about itself."""
        return self.ready.result() if self._state is State.READY else None

    @property
    def queue_length(self) -> int:
        return len(self._waiting)

    def submit(self, generation: Generation, on_step: OnStep | None = None) -> Job:
        """Puts a job in the queue.

        Args:
            generation: what to make.
            on_step: told of each denoising step, on a device's thread.

        Raises:
            NotReady: the model has not loaded, or the engine has stopped.
            QueueFull: no place is left.

        """
        now = time.monotonic()
        job = Job(generation, now, now + self._queue_timeout, on_step)
        with self._changed:
            if self._state is not State.READY or self._stopping:
                raise NotReady(_why_not_ready(self._state))
            self._drop_expired(now)
            if len(self._waiting) >= self._max_queue:
                raise QueueFull(self._max_queue, self._retry_after())
            self._waiting.append(job)
            self._changed.notify()
        return job

    def withdraw(self, job: Job) -> bool:
        """Takes a job out of the queue and cancels its future; False if it has left the queue."""
        with self._changed:
            try:
                self._waiting.remove(job)
            except ValueError:
                return False
        return job.future.cancel()

    def expire(self, job: Job) -> bool:
        """Fails a job that still waits with `DeadlineExceeded`; False if it has left the queue."""
        with self._changed:
            try:
                self._waiting.remove(job)
            except ValueError:
                return False
        _fail(job, DeadlineExceeded(self._queue_timeout))
        return True

    def stop(self, timeout: float | None = None) -> bool:
        """Takes no more jobs, finishes those it has, and ends. True if it ended in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = None if timeout is None else time.monotonic() + timeout
        for owner in self._owners:
            if owner.ident is not None:
                owner.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(owner.is_alive() for owner in self._owners)

    def _own(self, index: int) -> None:
        """The life of one device's thread."""
        cause: BaseException | None = None
        try:
            self._serve(index)
        except BaseException as error:  # noqa: BLE001 - whoever waits on `ended` raises it
            cause = error
        self._leave(cause)

    def _serve(self, index: int) -> None:
        try:
            runner = start_runner(
                lambda: self._load(index),
                self._warm_up,
                max_images=self._batching.max_images,
                metrics=self._metrics,
                timed=self._timed,
            )
        except StartupError as error:
            self._refuse_start(error)
            return
        self._join(runner)
        while batch := self._next_batch(runner):
            self._execute(runner, batch)

    def _join(self, runner: BatchRunner) -> None:
        """One device more is warm; the last one opens the queue."""
        with self._changed:
            self._runners.append(runner)
            self._seconds_per_job = runner.seconds_per_image / len(self._owners)
            ready = len(self._runners) == len(self._owners) and self._state is State.LOADING
            if ready:
                self._state = State.READY
        if ready:
            self.ready.set_result(self._runners[0])

    def _refuse_start(self, error: StartupError) -> None:
        """A device cannot serve, so the engine does not, and the others end."""
        with self._changed:
            first = self._state is State.LOADING
            self._state = State.FAILED
            self._stopping = True
            self._changed.notify_all()
        if first:
            self.ready.set_exception(error)

    def _leave(self, cause: BaseException | None) -> None:
        """A device's thread ends. Nobody is left waiting, and the last one says so."""
        with self._changed:
            self._left -= 1
            if cause is not None:
                self._state = State.FAILED
                self._stopping = True
                self._changed.notify_all()
            elif not self._left and self._state is not State.FAILED:
                self._state = State.STOPPED
            abandoned = list(self._waiting) if cause is not None or not self._left else []
            for job in abandoned:
                self._waiting.remove(job)
            report = not self.ended.done() and (cause is not None or not self._left)
        for job in abandoned:
            _fail(job, NotReady(_why_not_ready(self._state)))
        if report and cause is not None:
            self.ended.set_exception(cause)
        elif report:
            self.ended.set_result(None)

    def _next_batch(self, runner: BatchRunner) -> Sequence[Job]:
        """Waits for the next batch; empty when the engine has stopped and nothing is left."""
        with self._changed:
            while True:
                now = time.monotonic()
                self._drop_expired(now)
                patient = self._batching
                if self._stopping:  # nobody comes any more who could fill a batch
                    patient = replace(patient, max_wait=0.0)
                batch, due = next_batch(self._waiting, patient, runner.cap, now)
                if batch:
                    taken = set(map(id, batch))
                    self._waiting = deque(job for job in self._waiting if id(job) not in taken)
                    return batch
                if self._stopping:
                    return ()
                self._changed.wait(None if math.isinf(due) else due - now)

    def _drop_expired(self, now: float) -> None:
        """Fails what has waited too long. Needs the lock."""
        while self._waiting and self._waiting[0].deadline <= now:
            _fail(self._waiting.popleft(), DeadlineExceeded(self._queue_timeout))

    def _retry_after(self) -> int:
        """Whole seconds until about half of what waits is done. Needs the lock."""
        return max(1, math.ceil(len(self._waiting) / 2 * self._seconds_per_job))

    def _execute(self, runner: BatchRunner, batch: Sequence[Job]) -> None:
        # Marks the futures as running, after which nobody can cancel them any more.
        batch = [job for job in batch if job.future.set_running_or_notify_cancel()]
        if not batch:
            return
        begin = time.monotonic()
        for job in batch:
            self._metrics.queue_seconds.observe(begin - job.submitted)
        try:
            outcomes = runner.run([job.generation for job in batch], [job.on_step for job in batch])
        except BaseException:
            for job in batch:
                job.future.set_exception(NotReady("The device failed; the server is ending."))
            raise
        seconds = (time.monotonic() - begin) / len(batch) / len(self._owners)
        # A moving average, so that one slow request does not send clients away for long.
        self._seconds_per_job += 0.2 * (seconds - self._seconds_per_job)
        for job, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Result):
                queue_seconds = begin - job.submitted
                job.future.set_result(replace(outcome, queue_seconds=queue_seconds))
            else:
                job.future.set_exception(outcome)


def _fail(job: Job, error: RequestError) -> None:
    """Fails a job that has not started, unless whoever waited for it has left."""
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)


def _why_not_ready(state: State) -> str:
    match state:
        case State.LOADING:
            return "The model is still loading."
        case State.FAILED:
            return "The engine cannot serve any more; the server is about to exit."
        case _:
            return "The server is stopping."
