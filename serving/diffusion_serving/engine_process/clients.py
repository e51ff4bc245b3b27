"""Clients of engines in other processes: a pool of engines behind one `EngineClient`."""

import asyncio
import itertools
import math
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from prometheus_client import Metric

from diffusion_serving.engine import Outcome, Result, State
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine.errors import EngineSilent, NotReady
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine_process.link import LogLine
from diffusion_serving.engine_process.messages import (
    Cancel,
    Finished,
    Generate,
    RequestEvent,
    StepDone,
    StepsEnded,
    WorkerLink,
)
from diffusion_serving.engine_process.worker_pool import WorkerPool
from diffusion_serving.settings import Settings

_OWN_DEADLINE_SECONDS = 1.0
"""Seconds after its deadline by which an engine must have failed a request that waits."""

Dispatch = Callable[[Generate], Coroutine[Any, Any, Outcome]]
"""Carries a command to a worker, and its outcome back."""


@dataclass(frozen=True)
class WorkerQueue:
    """A queue of requests, and the links of the workers that take from it."""

    dispatch: Dispatch
    links: Sequence[WorkerLink]


@dataclass(frozen=True)
class _InFlight:
    """A request in flight: its queue, and the work of all its steps and images."""

    queue: WorkerQueue
    work: int


@dataclass(frozen=True)
class _Steps:
    """The steps of a request in flight whose client follows them."""

    on_step: OnStep
    ended: "asyncio.Future[None]"


class EnginePool:
    """The client of several engines, which themselves bound their queues and keep deadlines.

    Args:
        queues: of all engines together.
        queue_timeout: seconds that a request may wait, which this client keeps where an engine
            does not answer any more.
        silence: seconds without an answer after which an engine counts as hung.

    """

    def __init__(
        self,
        queues: Sequence[WorkerQueue],
        *,
        queue_timeout: float = math.inf,
        silence: float = Settings.silence_seconds,
    ) -> None:
        self._queues = queues
        self._queue_timeout = queue_timeout
        self._numbers = itertools.count()
        self._in_flight: dict[int, _InFlight] = {}
        self._steps: dict[int, _Steps] = {}
        links = [link for queue in queues for link in queue.links]
        self.workers = WorkerPool(links, self._on_event, silence)

    @property
    def state(self) -> State:
        return self.workers.state

    @property
    def alive(self) -> bool:
        return self.workers.state is not State.FAILED

    @property
    def model(self) -> ModelInfo | None:
        return self.workers.model

    async def metrics(self) -> Sequence[Metric]:
        return await self.workers.metrics()

    async def run(self, request: ImageRequest, on_step: OnStep | None = None) -> Result:
        number, outcome = self._dispatch(request, on_step)
        try:
            await self._keep_deadline(number, outcome)
            return await self._result(outcome)
        except asyncio.CancelledError:
            self._cancel(number)
            raise

    def _dispatch(
        self, request: ImageRequest, on_step: OnStep | None
    ) -> "tuple[int, asyncio.Task[Outcome]]":
        """Dispatches a request to the queue with the least work in flight; returns its number."""
        if self.state is not State.READY:
            raise NotReady("The model is not loaded.")
        number = next(self._numbers)
        command = Generate(number, time.monotonic(), request, wants_steps=on_step is not None)
        queue = min(self._queues, key=self._load)
        self._in_flight[number] = _InFlight(queue, request.work)
        if on_step is not None:
            self._steps[number] = _Steps(on_step, asyncio.get_running_loop().create_future())
        outcome = asyncio.ensure_future(self._outcome(queue, command))
        outcome.add_done_callback(lambda _: self._forget(number))
        return number, outcome

    async def _outcome(self, queue: WorkerQueue, command: Generate) -> Outcome:
        """Returns a request's outcome; images only after the last step that their client follows.

        The link brings the steps, and a framework's queue may bring the images before them.
        """
        outcome = await queue.dispatch(command)
        if command.wants_steps and isinstance(outcome, Result):
            await self._steps[command.number].ended
        return outcome

    def _load(self, queue: WorkerQueue) -> int:
        """The work of a queue's requests that are in flight: engines bound their queues by it."""
        return sum(one.work for one in self._in_flight.values() if one.queue is queue)

    def _cancel(self, number: int) -> None:
        """Tells the workers that a request's client has left.

        The dispatch goes on until its outcome is here: a framework keeps a place for that.
        """
        if (one := self._in_flight.get(number)) is not None:
            for link in one.queue.links:
                link.send(Cancel(number))

    def _forget(self, number: int) -> None:
        del self._in_flight[number]
        self._steps.pop(number, None)

    async def _keep_deadline(self, number: int, outcome: "asyncio.Task[Outcome]") -> None:
        """Waits for a request's outcome as long as it may wait for its start.

        Raises:
            EngineSilent: the engine, which keeps the deadline, did not answer when it was due.

        """
        ends: set[asyncio.Future[Any]] = {outcome, self.workers.lost}
        timeout = self._queue_timeout + _OWN_DEADLINE_SECONDS
        done, _ = await asyncio.wait(
            ends, timeout=min(timeout, threading.TIMEOUT_MAX), return_when="FIRST_COMPLETED"
        )
        # An engine that answers has failed the request by now, or has started it.
        if not done and self.workers.silent(self._in_flight[number].queue.links):
            self._cancel(number)
            raise EngineSilent(self._queue_timeout)

    async def _result(self, outcome: "asyncio.Task[Outcome]") -> Result:
        """Waits for a request's outcome, or until a worker is lost."""
        # Waiting for the task, unlike awaiting it, lets it go on when this is cancelled.
        ends: set[asyncio.Future[Any]] = {outcome, self.workers.lost}
        await asyncio.wait(ends, return_when="FIRST_COMPLETED")
        if not outcome.done():
            raise NotReady("The server is stopping: an engine has ended.")
        result = outcome.result()
        if isinstance(result, Result):
            return result
        raise result

    def _on_event(self, event: RequestEvent) -> None:
        match event:
            case StepDone(number, step, steps):
                if (followed := self._steps.get(number)) is not None:
                    followed.on_step(step, steps)
            case StepsEnded(number):
                followed = self._steps.get(number)
                if followed is not None and not followed.ended.done():
                    followed.ended.set_result(None)


class EngineProcessPool(EnginePool):
    """The client of engines whose links also carry the requests.

    Args:
        links: one for each device.
        output: the stream for the lines of the workers' logs.
        queue_timeout, silence: as for `EnginePool`.

    """

    def __init__(
        self,
        links: Sequence[WorkerLink],
        output: TextIO,
        *,
        queue_timeout: float = math.inf,
        silence: float = Settings.silence_seconds,
    ) -> None:
        queues = [WorkerQueue(partial(self._send, link), [link]) for link in links]
        super().__init__(queues, queue_timeout=queue_timeout, silence=silence)
        self._output = output
        self._outcomes: dict[int, asyncio.Future[Outcome]] = {}

    async def _send(self, link: WorkerLink, command: Generate) -> Outcome:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._outcomes[command.number] = outcome
        try:
            link.send(command)
            return await outcome
        finally:
            del self._outcomes[command.number]

    def _on_event(self, event: RequestEvent) -> None:
        match event:
            case Finished(number, outcome):
                self._outcomes[number].set_result(outcome)
            case LogLine(text):
                self._output.write(text)
                self._output.flush()
            case _:
                super()._on_event(event)
