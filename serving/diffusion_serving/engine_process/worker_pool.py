"""The worker pool: the HTTP process's view of its workers' state, metrics and end."""

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from prometheus_client import Metric

from diffusion_serving.engine import State
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine_process.link import LogLine
from diffusion_serving.engine_process.messages import (
    Alive,
    CheckAlive,
    CollectMetrics,
    Exit,
    Failed,
    Finished,
    Listening,
    MetricsCollected,
    Ready,
    RequestEvent,
    Started,
    StepDone,
    StepsEnded,
    WorkerEvent,
    WorkerLink,
)
from diffusion_serving.engine_process.watchdog import Watchdog
from diffusion_serving.observability.startup_errors import StartupError, WorkerLost
from diffusion_serving.settings import Settings

log = logging.getLogger("diffusion_serving")

METRICS_SECONDS = 2.0
"""A worker that doesn't send its metrics by then is shown as it was at the last scrape."""

EXIT_SECONDS = 5.0


class Process(Protocol):
    """A worker's process, whose exit code is read once its link has closed."""

    @property
    def exitcode(self) -> int | None:
        """Negative for a signal, None while it runs or if it is unknown."""

    def join(self, timeout: float) -> None:
        """Waits for its end, so many seconds at most."""

    def kill(self) -> None:
        """Ends it at once, even where it is stopped."""


class WorkerPool:
    """All workers together. All but `ready` and `ended` belongs to the event loop's thread.

    Args:
        links: this process's ends, one for each worker.
        on_event: receives the events of single requests, and the lines of the workers' logs.
        silence: seconds without an answer after which a worker counts as hung.

    """

    def __init__(
        self,
        links: Sequence[WorkerLink],
        on_event: Callable[[RequestEvent], None],
        silence: float = Settings.silence_seconds,
    ) -> None:
        self._links = links
        self._processes: Sequence[Process] = ()
        self._watchdog = Watchdog(silence)
        self._watching: asyncio.Task[None] | None = None
        self._on_event = on_event
        self._models: dict[int, ModelInfo] = {}
        self._metrics: dict[int, Sequence[Metric]] = {}
        """The last metrics of each worker that receives commands."""
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._queries = itertools.count()
        self._failed = False
        self._lost: asyncio.Future[None] | None = None
        self.ready: Future[None] = Future()
        """Resolves when every worker has loaded its model; holds a `StartupError` if one failed."""
        self.ended: Future[None] = Future()
        """Holds a `StartupError` once a worker that was ready cannot go on."""

    def listen(self, processes: Sequence[Process]) -> None:
        """Starts to receive the workers' events on the running event loop."""
        loop = asyncio.get_running_loop()
        self._lost = loop.create_future()
        self._processes = processes
        self._watching = loop.create_task(self._watch())
        for place, process in enumerate(processes):
            threading.Thread(
                target=self._receive, args=(loop, place, process), name="link", daemon=True
            ).start()

    @property
    def lost(self) -> "asyncio.Future[None]":
        """Done once a worker has failed or ended: the outcomes of its requests won't come."""
        if self._lost is None:
            raise RuntimeError("the worker pool does not listen yet")
        return self._lost

    @property
    def state(self) -> State:
        if self._failed:
            return State.FAILED
        return State.READY if len(self._models) == len(self._links) else State.LOADING

    @property
    def model(self) -> ModelInfo | None:
        """The first worker's model, once all are ready: they load the same."""
        return self._models[0] if self.state is State.READY else None

    async def metrics(self) -> Sequence[Metric]:
        """Collects the metrics of all workers that receive commands."""
        queries = {next(self._queries): place for place in self._metrics}
        for query, place in queries.items():
            self._answers[query] = asyncio.get_running_loop().create_future()
            self._links[place].send(CollectMetrics(query))
        if queries:
            await asyncio.wait([self._answers[query] for query in queries], timeout=METRICS_SECONDS)
        for query in queries:
            del self._answers[query]
        return [family for families in self._metrics.values() for family in families]

    def end(self) -> None:
        """Ends the workers, and kills those that don't; their running requests are discarded."""
        for link in self._links:
            link.send(Exit())
        for process in self._processes:
            process.join(EXIT_SECONDS)
            if process.exitcode is None:
                process.kill()

    def silent(self, links: Sequence[WorkerLink]) -> bool:
        """Whether none of these workers has answered the last checks."""
        return self._watchdog.silent(self._links.index(link) for link in links)

    async def _watch(self) -> None:
        """Checks the workers that are ready, until one of them hangs."""
        while not self._failed:
            for place in self._models:
                self._links[place].send(CheckAlive())
            await asyncio.sleep(self._watchdog.tick_seconds)
            for place, error in self._watchdog.tick(time.monotonic()).items():
                self._fail(error)
                self._processes[place].kill()

    def _receive(self, loop: asyncio.AbstractEventLoop, place: int, process: Process) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: this process is about to end
            for event in self._links[place].messages():
                loop.call_soon_threadsafe(self._handle, place, event)
            process.join(EXIT_SECONDS)
            loop.call_soon_threadsafe(self._fail, WorkerLost(process.exitcode))

    def _handle(self, place: int, event: WorkerEvent) -> None:
        match event:
            case Listening():
                self._metrics[place] = ()
            case Ready(model):
                self._models[place] = model
                self._watchdog.watch(place)
                if self.state is State.READY:
                    log.info("all workers are ready", extra={"workers": len(self._links)})
                    self.ready.set_result(None)
            case Failed(error):
                self._fail(error)
            case Alive(call):
                self._watchdog.heard(place, call)
            case MetricsCollected(query, families):
                self._metrics[place] = families
                if (answer := self._answers.get(query)) is not None and not answer.done():
                    answer.set_result(None)
            case Started() | StepDone() | StepsEnded() | Finished() | LogLine():
                self._on_event(event)

    def _fail(self, error: StartupError) -> None:
        """Keeps the first reason why the pool cannot generate images any more."""
        if self._failed:
            return
        self._failed = True
        self.lost.set_result(None)
        (self.ended if self.ready.done() else self.ready).set_exception(error)
