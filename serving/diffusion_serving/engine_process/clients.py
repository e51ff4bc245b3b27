"""Makers whose engines are in other processes."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from prometheus_client import Metric

from diffusion_serving.engine import Outcome, Result, State
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine.generation import Generation, OnStep
from diffusion_serving.engine_process.link import Line
from diffusion_serving.engine_process.messages import (
    Made,
    Make,
    Started,
    Stepped,
    Ticket,
    Withdraw,
    WorkerLink,
)
from diffusion_serving.engine_process.worker_pool import Fleet, Heard
from diffusion_serving.observability.errors import NotReady

Carry = Callable[[Ticket], Coroutine[Any, Any, Outcome]]
"""Takes a ticket to a worker, and its outcome back."""


@dataclass(frozen=True)
class Lane:
    """A way to workers, and the links to those that take from it."""

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
        # The call goes on until its answer is here: a framework keeps a place for that.
        self.withdrawn = True
        for link in self.lane.links:
            link.send(Withdraw(self.ticket.number))


class FleetMaker:
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

    def _hear(self, message: Heard) -> None:
        match message:
            case Started(numbers):
                for number in numbers:
                    if (call := self._calls.get(number)) is not None and not call.started.done():
                        call.started.set_result(None)
            case Stepped(number, step, steps):
                call = self._calls.get(number)
                if call is not None and call.on_step is not None:
                    call.on_step(step, steps)


class ProcessMaker(FleetMaker):
    """The maker in front of engines whose links carry the tickets as well.

    Args:
        links: one a device.
        output: takes the lines of the workers' logs.

    """

    def __init__(self, links: Sequence[WorkerLink], output: TextIO) -> None:
        super().__init__([Lane(partial(self._carry, link), [link]) for link in links])
        self._output = output
        self._outcomes: dict[int, asyncio.Future[Outcome]] = {}

    async def _carry(self, link: WorkerLink, ticket: Ticket) -> Outcome:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._outcomes[ticket.number] = outcome
        try:
            link.send(Make(ticket))
            return await outcome
        finally:
            del self._outcomes[ticket.number]

    def _hear(self, message: Heard) -> None:
        match message:
            case Made(number, outcome):
                self._outcomes[number].set_result(outcome)
            case Line(text):
                self._output.write(text)
                self._output.flush()
            case _:
                super()._hear(message)
