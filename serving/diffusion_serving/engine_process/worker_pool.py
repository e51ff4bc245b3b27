"""The HTTP process's view of its workers: how they are, what they measure, when they end."""

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from prometheus_client import Metric

from diffusion_serving.engine import State
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine_process.link import Line
from diffusion_serving.engine_process.messages import (
    End,
    Failed,
    Made,
    Measure,
    Measured,
    Ready,
    Started,
    Stepped,
    Told,
    Up,
    WorkerLink,
)
from diffusion_serving.observability.errors import StartupError, WorkerLost

log = logging.getLogger(__name__)

MEASURE_SECONDS = 2.0
"""A worker that doesn't tell its metrics by then is shown as it was at the last scrape."""

EXIT_SECONDS = 5.0

Heard = Started | Stepped | Made | Line
Hear = Callable[[Heard], None]


class Process(Protocol):
    """What is asked of a worker's process once its link has closed."""

    @property
    def exitcode(self) -> int | None:
        """Negative for a signal, None if it runs or nobody knows."""

    def join(self, timeout: float) -> None:
        """Waits for its end, so many seconds at most."""


class Fleet:
    """All workers together. Everything but `ready` and `ended` belongs to the event loop's thread.

    Args:
        links: this process's ends, one a worker.
        hear: takes what workers tell of single tickets, and the lines of their logs.

    """

    def __init__(self, links: Sequence[WorkerLink], hear: Hear) -> None:
        self._links = links
        self._hear = hear
        self._models: dict[int, ModelInfo] = {}
        self._measured: dict[int, Sequence[Metric]] = {}
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._questions = itertools.count()
        self._failed = False
        self._lost: asyncio.Future[None] | None = None
        self.ready: Future[None] = Future()
        """Resolves when every worker has loaded its model; holds a `StartupError` if one can't."""
        self.ended: Future[None] = Future()
        """Holds a `StartupError` once a worker that was ready can't go on."""

    def listen(self, processes: Sequence[Process]) -> None:
        """Begins to hear the workers, on the running event loop."""
        loop = asyncio.get_running_loop()
        self._lost = loop.create_future()
        for place, process in enumerate(processes):
            threading.Thread(
                target=self._receive, args=(loop, place, process), name="link", daemon=True
            ).start()

    @property
    def lost(self) -> "asyncio.Future[None]":
        """Done once a worker has failed or ended: nothing that was asked of it will come."""
        if self._lost is None:
            raise RuntimeError("the fleet is not listened to yet")
        return self._lost

    @property
    def state(self) -> State:
        if self._failed:
            return State.FAILED
        return State.READY if len(self._models) == len(self._links) else State.LOADING

    @property
    def model(self) -> ModelInfo | None:
        """The first worker's, once all are ready: they load the same."""
        return self._models[0] if self.state is State.READY else None

    async def metrics(self) -> Sequence[Metric]:
        """The metrics of all workers that have started."""
        asked = {next(self._questions): place for place in self._measured}
        for question, place in asked.items():
            self._answers[question] = asyncio.get_running_loop().create_future()
            self._links[place].send(Measure(question))
        if asked:
            await asyncio.wait(
                [self._answers[question] for question in asked], timeout=MEASURE_SECONDS
            )
        for question in asked:
            del self._answers[question]
        return [family for families in self._measured.values() for family in families]

    def end(self) -> None:
        """Ends the workers, whatever they are doing."""
        for link in self._links:
            link.send(End())

    def _receive(self, loop: asyncio.AbstractEventLoop, place: int, process: Process) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: this process is about to end
            for message in self._links[place].messages():
                loop.call_soon_threadsafe(self._take, place, message)
            process.join(EXIT_SECONDS)
            loop.call_soon_threadsafe(self._fail, WorkerLost(process.exitcode))

    def _take(self, place: int, message: Told) -> None:
        match message:
            case Up():
                self._measured[place] = ()
            case Ready(model):
                self._models[place] = model
                if self.state is State.READY:
                    log.info("all workers are ready", extra={"workers": len(self._links)})
                    self.ready.set_result(None)
            case Failed(error):
                self._fail(error)
            case Measured(question, families):
                self._measured[place] = families
                if (answer := self._answers.get(question)) is not None and not answer.done():
                    answer.set_result(None)
            case Started() | Stepped() | Made() | Line():
                self._hear(message)

    def _fail(self, error: StartupError) -> None:
        """Notes the first reason why no more images can be made."""
        if self._failed:
            return
        self._failed = True
        self.lost.set_result(None)
        (self.ended if self.ready.done() else self.ready).set_exception(error)
