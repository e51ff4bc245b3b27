"""Makers whose engines are in LitServe's workers."""

import asyncio
import itertools
import logging
import math
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Metric

from diffusion_serving.backends.litserve.fleet import Fleet
from diffusion_serving.backends.litserve.link import (
    Started,
    Stepped,
    Ticket,
    Withdraw,
    WorkerLink,
)
from diffusion_serving.backends.litserve.worker import Outcome
from diffusion_serving.config import Batching, Queue
from diffusion_serving.engine import Result, State
from diffusion_serving.errors import DeadlineExceeded, EngineFailed, NotReady, QueueFull
from diffusion_serving.generation import Generation, OnStep
from diffusion_serving.logs import failure_fields
from diffusion_serving.maker import ModelInfo
from diffusion_serving.metrics import Metrics

log = logging.getLogger(__name__)

Carry = Callable[[Ticket], Coroutine[Any, Any, Outcome]]
"""Takes a ticket through LitServe's queue to a worker, and its outcome back."""


@dataclass(frozen=True)
class Lane:
    """One queue of LitServe's, and the links to the workers that take from it."""

    carry: Carry
    links: Sequence[WorkerLink]


@dataclass(eq=False)
class _Call:
    """One ticket that is under way. The futures belong to the event loop."""

    ticket: Ticket
    lane: Lane
    answer: "asyncio.Task[Outcome]"
    started: "asyncio.Future[None]"
    on_step: OnStep | None
    withdrawn: bool = False

    @property
    def waits(self) -> bool:
        return not (self.withdrawn or self.started.done() or self.answer.done())

    def withdraw(self) -> None:
        # The call goes on until its answer is here: LitServe keeps a place for that.
        self.withdrawn = True
        for link in self.lane.links:
            link.send(Withdraw(self.ticket.number))


class LitServeMaker:
    """The maker in front of engines: they keep the queue's bound and its deadlines."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._numbers = itertools.count()
        self._calls: dict[int, _Call] = {}
        self.fleet = Fleet([link for lane in lanes for link in lane.links], self._hear)

    @property
    def state(self) -> State:
        return self.fleet.state

    @property
    def alive(self) -> bool:
        return self.fleet.state is not State.FAILED

    @property
    def model(self) -> ModelInfo | None:
        return self.fleet.model

    async def metrics(self) -> Sequence[Metric]:
        return await self.fleet.metrics()

    async def run(self, generation: Generation, on_step: OnStep | None = None) -> Result:
        call = self._submit(generation, on_step)
        try:
            return await self._outcome(call)
        except asyncio.CancelledError:
            call.withdraw()
            raise

    def _submit(self, generation: Generation, on_step: OnStep | None) -> _Call:
        """Sends a ticket on its way, to the device that has the least to do."""
        if self.state is not State.READY:
            raise NotReady("The model is not loaded.")
        number = next(self._numbers)
        ticket = Ticket(number, time.monotonic(), generation, wants_steps=on_step is not None)
        lane = min(self._lanes, key=self._under_way)
        answer = asyncio.ensure_future(lane.carry(ticket))
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls[number] = _Call(ticket, lane, answer, started, on_step)
        answer.add_done_callback(lambda _: self._calls.pop(number))
        return self._calls[number]

    def _under_way(self, lane: Lane) -> int:
        return sum(call.lane is lane for call in self._calls.values())

    async def _outcome(self, call: _Call) -> Result:
        """Waits for a ticket's outcome, or until a worker is lost."""
        # Waiting for the task, unlike awaiting it, lets it go on when this is cancelled.
        ends: set[asyncio.Future[Any]] = {call.answer, self.fleet.lost}
        await asyncio.wait(ends, return_when="FIRST_COMPLETED")
        if not call.answer.done():
            raise NotReady("The server is stopping: a worker process has ended.")
        outcome = call.answer.result()
        if isinstance(outcome, Result):
            return outcome
        raise outcome

    def _hear(self, message: Started | Stepped) -> None:
        match message:
            case Started(numbers):
                for number in numbers:
                    if (call := self._calls.get(number)) is not None and not call.started.done():
                        call.started.set_result(None)
            case Stepped(number, step, steps):
                call = self._calls.get(number)
                if call is not None and call.on_step is not None:
                    call.on_step(step, steps)


class QueueingMaker(LitServeMaker):
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
            error_id = uuid.uuid4().hex[:12]
            log.error(  # noqa: TRY400 - a traceback with its message could show a prompt
                "LitServe failed on a request", extra={"error_id": error_id} | failure_fields(error)
            )
            return EngineFailed(error_id)
        return outcome

    return through_litserve
