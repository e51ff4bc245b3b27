"""The loop of an engine that schedules steps: one stage of some requests in each turn."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

from diffusion_serving.engine.errors import NotReady
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.queued_request import QueuedRequest, Result
from diffusion_serving.engine.request_queue import CLIENT_LEFT, Choice, RequestQueue
from diffusion_serving.engine.returns import Returns
from diffusion_serving.engine.step_runner import LARGEST_SLICE, Image, StepRunner
from diffusion_serving.engine.step_schedule import Rules, Step, decodes_first, next_step
from diffusion_serving.observability.metrics import Metrics

_Turn = Callable[[], None]


class StepLoop:
    """The requests that run, and the choice of what the device does next.

    Args:
        runner: the stages; only this loop's thread calls it.
        queue: the requests that wait.
        metrics: the metrics of stages and queue.
        max_wait: seconds that the first request may wait while nothing runs, for others.

    """

    def __init__(
        self, runner: StepRunner, queue: RequestQueue, metrics: Metrics, max_wait: float
    ) -> None:
        self._runner = runner
        self._queue = queue
        self._metrics = metrics
        self._max_wait = max_wait
        self._running: list[QueuedRequest] = []
        self._returns = Returns()
        queue.on_arrival = lambda queued: self._returns.arrive(
            queued.request.images, queued.submitted
        )

    def turn(self) -> bool:
        """Waits for work and does one stage of it; False once the queue is closed and empty.

        Raises:
            DeviceLost: the device cannot be used any more.

        """
        work = self._queue.take(self._choose, in_steps=True)
        if work is None:
            return False
        work()
        return True

    def _choose(
        self, waiting: Sequence[QueuedRequest], now: float, stopping: bool
    ) -> Choice[_Turn]:
        """Chooses the next stage. Called with the queue's lock held."""
        if left := [queued for queued in self._running if queued.abandoned]:
            return partial(self._drop, left), (), now
        step = next_step([*self._running, *waiting], self._runner.curve, self._rules())
        if (done := self._next_slice()) and (step is None or self._decodes_first(done, step)):
            return partial(self._decode, done), (), now
        if step is None:
            return None, (), math.inf
        if not stopping and (until := self._wait_until(step)) > now:
            return None, (), until
        starting = [queued for queued, _ in step.parts if queued.begun is None]
        return partial(self._step, step), starting, now

    def _rules(self) -> Rules:
        return Rules(self._runner.max_images, self._runner.denoising_memory.pixels)

    def _wait_until(self, step: Step) -> float:
        """Returns the time until which a step waits for more images."""
        if not step.room:
            return 0.0
        if not self._running:
            oldest = min(queued.submitted for queued, _ in step.parts)
            wait = oldest + self._max_wait if self._max_wait else 0.0
        else:
            wait = 0.0
        seconds = self._runner.curve.step_seconds(step.work)
        return max(wait, self._returns.wait_until(step.images, step.room, seconds))

    def _next_slice(self) -> list[Image]:
        """Returns the images to decode next: of one size, as many as memory holds."""
        done = [(queued, place) for queued in self._running for place in queued.denoised]
        if not done:
            return []
        first = done[0][0].request
        same = [one for one in done if one[0].request.step_key[:2] == first.step_key[:2]]
        return same[: self._most_decoded(first)]

    def _decodes_first(self, done: Sequence[Image], step: Step) -> bool:
        running = sum(len(queued.undenoised) for queued in self._running)
        like = done[0][0].request
        most = self._most_decoded(like)
        return decodes_first(
            self._runner.curve, step, done=len(done), like=like, running=running, most=most
        )

    def _most_decoded(self, like: ImageRequest) -> int:
        """Returns the most images of that request's size in one decoding."""
        memory = self._runner.decoding_memory.images(like.pixels)
        return int(min(self._runner.max_images, memory, LARGEST_SLICE))

    def _step(self, step: Step) -> None:
        self._begin([queued for queued, _ in step.parts if queued.begun is None])
        images = [
            (queued, place)
            for queued, places in step.parts
            if queued.states and not queued.abandoned
            for place in places
        ]
        if images:
            self._runner.step(images)
        for queued in dict.fromkeys(queued for queued, _ in images):
            if queued.failure is None:
                queued.report_progress()
        self._settle()

    def _begin(self, requests: Sequence[QueuedRequest]) -> None:
        """Encodes the texts of requests that have just left the queue."""
        now = time.monotonic()
        starting = []
        for queued in requests:
            queued.begun = now
            # Marks the future as running, after which it cannot be cancelled from outside.
            if queued.future.set_running_or_notify_cancel():
                starting.append(queued)
                self._metrics.queue_seconds.observe(now - queued.submitted)
            else:
                self._queue.end(queued)
        self._running += starting
        if starting:
            self._runner.begin(starting)

    def _decode(self, images: Sequence[Image]) -> None:
        self._runner.decode(images)
        self._settle()

    def _drop(self, requests: Sequence[QueuedRequest]) -> None:
        """Ends requests whose clients have left."""
        for queued in requests:
            self._leave(queued)
            queued.future.set_exception(NotReady(CLIENT_LEFT))

    def _settle(self) -> None:
        """Answers the requests that are finished or have failed."""
        now = time.monotonic()
        finished: list[tuple[QueuedRequest, Result]] = []
        self._queue.seconds_per_work = self._runner.curve.seconds_per_work
        for queued in list(self._running):
            if queued.failure is not None:
                self._leave(queued)
                queued.future.set_exception(queued.failure)
            elif len(queued.pictures) == queued.request.images:
                self._leave(queued)
                finished.append((queued, self._result(queued, now)))
        if finished:
            images = sum(queued.request.images for queued, _ in finished)
            curve, check = self._runner.curve, self._runner.check
            step_seconds = curve.step_seconds(curve.reference)
            self._returns.finish(images, now, step_seconds, check.seconds)
            check.answer(finished)

    def _leave(self, queued: QueuedRequest) -> None:
        self._running.remove(queued)
        self._queue.end(queued)
        queued.states = {}

    def _result(self, queued: QueuedRequest, now: float) -> Result:
        """Returns the images; the seconds of the stages add up to those in the engine."""
        begun = queued.begun or now
        queued.seconds = {
            "text_encoder": queued.encoded - begun,
            "denoise": queued.last_step - queued.encoded,
            "vae": now - queued.last_step,
        }
        for stage, seconds in queued.seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(seconds)
        return Result(
            pictures=[queued.pictures[place] for place in range(queued.request.images)],
            queue_seconds=begun - queued.submitted,
            text_encoder_seconds=queued.seconds["text_encoder"],
            denoise_seconds=queued.seconds["denoise"],
            vae_seconds=queued.seconds["vae"],
        )
