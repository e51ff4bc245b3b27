"""The engine: one thread that owns the device, and the bounded queue in front of it.

A diffusers pipeline must not be shared between threads, so everything that touches the model
happens on the engine's own thread. Others submit jobs and wait for their futures.
"""

import enum
import logging
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from diffusion_serving.errors import (
    DeadlineExceeded,
    EngineFailed,
    ModelLoadFailed,
    NotReady,
    QueueFull,
    RequestError,
    StartupError,
)
from diffusion_serving.generation import BatchOutput, Generation, Picture, Pipeline
from diffusion_serving.logs import failure_fields
from diffusion_serving.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one job. Seconds, by stage."""

    pictures: Sequence[Picture]
    queue_seconds: float
    text_encoder_seconds: float
    denoise_seconds: float
    vae_seconds: float


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through the engine. Times are of `time.monotonic`."""

    generation: Generation
    submitted: float
    deadline: float
    future: Future[Result] = field(default_factory=Future)


class State(enum.Enum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


def take_first(waiting: Sequence[Job]) -> Sequence[Job]:
    """The simplest way to form a batch: the oldest job alone."""
    return waiting[:1]


class Engine:
    """Runs jobs in the order they came, one call of the pipeline at a time.

    Args:
        load: makes the pipeline; called on the engine's thread.
        warm_up: the generation that must succeed before the engine is ready, given the pipeline.
        max_queue: jobs that may wait.
        queue_timeout: seconds that a job may wait before it starts.
        form_batch: picks the next batch, which shares a batch key, from what waits (oldest first).

    """

    def __init__(
        self,
        load: Callable[[], Pipeline],
        warm_up: Callable[[Pipeline], Generation],
        *,
        max_queue: int,
        queue_timeout: float,
        metrics: Metrics,
        form_batch: Callable[[Sequence[Job]], Sequence[Job]] = take_first,
    ) -> None:
        self._load = load
        self._warm_up = warm_up
        self._max_queue = max_queue
        self._queue_timeout = queue_timeout
        self._metrics = metrics
        self._form_batch = form_batch
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._state = State.LOADING
        self._stopping = False
        self._seconds_per_job = 1.0
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self.ready: Future[Pipeline] = Future()
        """Resolves when the warm-up image is out; holds a `StartupError` if that failed."""
        metrics.queue_length.set_function(lambda: self.queue_length)

    def start(self) -> None:
        self._thread.start()

    @property
    def state(self) -> State:
        return self._state

    @property
    def alive(self) -> bool:
        """False once the engine's thread has ended, whatever the reason."""
        return self._thread.is_alive()

    @property
    def pipeline(self) -> Pipeline | None:
        """The loaded pipeline, only to be asked about itself."""
        return self.ready.result() if self._state is State.READY else None

    @property
    def queue_length(self) -> int:
        return len(self._waiting)

    def submit(self, generation: Generation) -> Job:
        """Puts a job in the queue.

        Raises:
            NotReady: the model has not loaded, or the engine has stopped.
            QueueFull: no place is left.

        """
        now = time.monotonic()
        job = Job(generation, submitted=now, deadline=now + self._queue_timeout)
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
        """Takes no more jobs, finishes those it has, and ends the thread. True if it ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            pipeline = self._start_up()
        except StartupError as error:
            self._state = State.FAILED
            self.ready.set_exception(error)
            return
        self._state = State.READY
        self.ready.set_result(pipeline)
        try:
            while batch := self._next_batch():
                self._execute(pipeline, batch)
        finally:
            # Should the thread ever die of a defect, nobody is left waiting for it.
            with self._changed:
                self._state = State.STOPPED
                while self._waiting:
                    _fail(self._waiting.popleft(), NotReady(_why_not_ready(self._state)))

    def _start_up(self) -> Pipeline:
        begin = time.monotonic()
        try:
            pipeline = self._load()
        except StartupError:
            raise
        except Exception as error:
            log.error("the model failed to load", extra=failure_fields(error))  # noqa: TRY400
            raise ModelLoadFailed(
                f"The model failed to load ({type(error).__name__}: {error}). "
                "Check that the directory is a whole Stable Diffusion pipeline."
            ) from error
        loaded = time.monotonic()
        try:
            pipeline([self._warm_up(pipeline)])
        except Exception as error:
            log.error("the warm-up image failed", extra=failure_fields(error))  # noqa: TRY400
            raise ModelLoadFailed(
                f"The model loaded, but its warm-up image failed ({type(error).__name__}: "
                f"{error}). Check the size, steps and precision that the service is set to."
            ) from error
        self._seconds_per_job = time.monotonic() - loaded
        log.info(
            "the model is loaded and warm",
            extra={
                "load_seconds": round(loaded - begin, 2),
                "warm_up_seconds": round(self._seconds_per_job, 2),
                "device": pipeline.device,
                "dtype": pipeline.dtype,
            },
        )
        return pipeline

    def _next_batch(self) -> Sequence[Job]:
        """Waits for the next batch; empty when the engine has stopped and nothing is left."""
        with self._changed:
            while True:
                self._drop_expired(time.monotonic())
                if self._waiting:
                    batch = self._form_batch(tuple(self._waiting))
                    for job in batch:
                        self._waiting.remove(job)
                    return batch
                if self._stopping:
                    return ()
                self._changed.wait()

    def _drop_expired(self, now: float) -> None:
        """Fails what has waited too long. Needs the lock."""
        while self._waiting and self._waiting[0].deadline <= now:
            _fail(self._waiting.popleft(), DeadlineExceeded(self._queue_timeout))

    def _retry_after(self) -> int:
        """Whole seconds until about half of what waits is done. Needs the lock."""
        return max(1, math.ceil(len(self._waiting) / 2 * self._seconds_per_job))

    def _execute(self, pipeline: Pipeline, batch: Sequence[Job]) -> None:
        # Marks the futures as running, after which nobody can cancel them any more.
        batch = [job for job in batch if job.future.set_running_or_notify_cancel()]
        if not batch:
            return
        begin = time.monotonic()
        for job in batch:
            self._metrics.queue_seconds.observe(begin - job.submitted)
        try:
            output = pipeline([job.generation for job in batch])
            results = [
                _result(job, pictures, output, begin)
                for job, pictures in zip(batch, output.pictures, strict=True)
            ]
        except Exception as error:  # noqa: BLE001 - whatever it is, the next job must be served
            error_id = uuid.uuid4().hex[:12]
            log.error(  # noqa: TRY400 - a traceback with its message could show a prompt
                "a batch failed", extra={"error_id": error_id} | failure_fields(error)
            )
            for job in batch:
                job.future.set_exception(EngineFailed(error_id))
            return
        seconds = (time.monotonic() - begin) / len(batch)
        # A moving average, so that one slow request does not send clients away for long.
        self._seconds_per_job += 0.2 * (seconds - self._seconds_per_job)
        self._record(output)
        for job, result in zip(batch, results, strict=True):
            job.future.set_result(result)

    def _record(self, output: BatchOutput) -> None:
        images = sum(len(pictures) for pictures in output.pictures)
        self._metrics.batch_size.observe(images)
        self._metrics.images.inc(images)
        for stage, seconds in output.seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(seconds)


def _result(job: Job, pictures: Sequence[Picture], output: BatchOutput, begin: float) -> Result:
    return Result(
        pictures=pictures,
        queue_seconds=begin - job.submitted,
        text_encoder_seconds=output.seconds["text_encoder"],
        denoise_seconds=output.seconds["denoise"],
        vae_seconds=output.seconds["vae"],
    )


def _fail(job: Job, error: RequestError) -> None:
    """Fails a job that has not started, unless whoever waited for it has left."""
    if job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)


def _why_not_ready(state: State) -> str:
    match state:
        case State.LOADING:
            return "The model is still loading."
        case State.FAILED:
            return "The model could not be loaded; the server is about to exit."
        case _:
            return "The server is stopping."
