"""The engine: its queue, the thread that owns the device, and its life from start to end."""

import threading
from concurrent.futures import Future

from diffusion_serving.engine.batching import Batching
from diffusion_serving.engine.call_loop import CallLoop
from diffusion_serving.engine.errors import NotReady
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.lifecycle import State
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine.queued_request import QueuedRequest
from diffusion_serving.engine.request_queue import RequestQueue, fail
from diffusion_serving.engine.runner import BatchRunner
from diffusion_serving.engine.start import Load, WarmUp, start_engine_runner
from diffusion_serving.engine.step_loop import StepLoop
from diffusion_serving.engine.step_runner import StepRunner
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import StartupError

Runner = BatchRunner | StepRunner


class Engine:
    """A queue in front of one device, and the thread that owns the device.

    The engine schedules the steps of a pipeline that has a step loop, and whole calls of any
    other, or where no two requests may share a batch.

    Args:
        load: loads the pipeline, on the engine's thread.
        warm_up: returns the request that must succeed before the engine is ready.
        max_queue: the bound of the queue, in requests like that of the warm-up.
        queue_timeout: seconds that a request may wait before it starts.
        batching: the rules by which batches are formed.
        timed: whether a pipeline's whole calls are timed alone before the engine is ready.
        blur: whether a picture that the safety checker blocks is blurred, not refused.

    """

    def __init__(
        self,
        load: Load,
        warm_up: WarmUp,
        *,
        max_queue: int,
        queue_timeout: float,
        metrics: Metrics,
        batching: Batching | None = None,
        timed: bool = False,
        blur: bool = False,
    ) -> None:
        self._load = load
        self._warm_up = warm_up
        self._metrics = metrics
        self._batching = batching or Batching()
        self._timed = timed
        self._blur = blur
        self._queue = RequestQueue(max_queue, queue_timeout)
        self._state = State.LOADING
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self.ready: Future[Runner] = Future()
        """Resolves once the warm-up has succeeded; holds a `StartupError` if it failed.

        The runner is there to be read, not to be called.
        """
        self.ended: Future[None] = Future()
        """Resolves after `stop`, when all requests are done; holds the cause of any other end."""
        metrics.queue_length.set_function(lambda: self._queue.length)
        metrics.waiting_cost.set_function(lambda: self._queue.waiting_cost)
        metrics.running_cost.set_function(lambda: self._queue.running_cost)

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
    def runner(self) -> Runner | None:
        """The runner, to be read and not to be called; None until the engine is ready."""
        return self.ready.result() if self._state is State.READY else None

    @property
    def queue_length(self) -> int:
        return self._queue.length

    def submit(self, request: ImageRequest, on_step: OnStep | None = None) -> QueuedRequest:
        """Puts a request in the queue.

        Args:
            request: the images to generate.
            on_step: called after each denoising step, on the engine's thread.

        Raises:
            NotReady: the model has not loaded, or the engine has stopped.
            QueueFull: the cost of the waiting requests has reached the bound.

        """
        if self._state is not State.READY:
            raise NotReady(_why_not_ready(self._state))
        return self._queue.add(request, on_step, _why_not_ready(State.STOPPED))

    def cancel(self, queued: QueuedRequest) -> bool:
        """Takes a request out of the queue, or its images out at the next step.

        Returns whether it did so: not where a whole call generates them.
        """
        return self._queue.cancel(queued)

    def expire(self, queued: QueuedRequest) -> bool:
        """Fails a waiting request with `DeadlineExceeded`; False if it has left the queue."""
        return self._queue.expire(queued)

    def stop(self, timeout: float | None = None) -> bool:
        """Refuses new requests, finishes the queue, and ends. True if it ended in time."""
        self._queue.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

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
            runner = start_engine_runner(
                self._load,
                self._warm_up,
                max_images=self._batching.max_images,
                metrics=self._metrics,
                timed=self._timed,
                stepwise=not self._batching.one_request,
                blur=self._blur,
            )
        except StartupError as error:
            self._state = State.FAILED
            self.ready.set_exception(error)
            return
        loop = self._loop(runner)
        self._state = State.READY
        self.ready.set_result(runner)
        while loop.turn():
            pass
        runner.check.close()

    def _loop(self, runner: Runner) -> CallLoop | StepLoop:
        self._queue.usual_work = runner.usual_work
        if isinstance(runner, StepRunner):
            self._queue.seconds_per_work = runner.curve.seconds_per_work
            return StepLoop(runner, self._queue, self._metrics, self._batching.max_wait)
        self._queue.seconds_per_work = runner.seconds_per_image / runner.usual_work
        return CallLoop(runner, self._queue, self._metrics, self._batching)

    def _end(self, cause: BaseException | None) -> None:
        """Fails the requests that are left, and resolves `ended`."""
        if cause is not None:
            self._state = State.FAILED
        elif self._state is not State.FAILED:
            self._state = State.STOPPED
        for queued in self._queue.empty():
            fail(queued, NotReady(_why_not_ready(self._state)))
        if cause is not None:
            self.ended.set_exception(cause)
        else:
            self.ended.set_result(None)


def _why_not_ready(state: State) -> str:
    match state:
        case State.LOADING:
            return "The model is still loading."
        case State.FAILED:
            return "The engine cannot serve any more; the server is about to exit."
        case _:
            return "The server is stopping."
