"""What runs in a LitServe worker process: its hooks, with an engine or a bare pipeline behind."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from litserve import LitAPI  # type: ignore[import-untyped] # it carries no annotations
from tqdm import tqdm  # type: ignore[import-untyped] # same

from diffusion_serving import logs
from diffusion_serving.backends.link import Link
from diffusion_serving.backends.litserve.link import (
    Asked,
    End,
    Failed,
    Measure,
    Measured,
    Ready,
    Started,
    Stepped,
    Ticket,
    Told,
    Up,
    Withdraw,
)
from diffusion_serving.backends.litserve.withdrawals import Withdrawals
from diffusion_serving.config import ServingConfig
from diffusion_serving.engine import BatchRunner, Result
from diffusion_serving.errors import NotReady, RequestError, StartupError
from diffusion_serving.generation import OnStep
from diffusion_serving.maker import EngineMaker, ModelInfo
from diffusion_serving.metrics import make_metrics
from diffusion_serving.startup import Load, load_model, load_runner, make_engine

Outcome = Result | RequestError

SHORTEST_BATCH_TIMEOUT = 0.01
"""Seconds. With a timeout of 0 LitServe's loop asks its queue without a pause: a core is spent.
Within 1 ms it often takes only some of the requests that wait, and makes small batches of many."""

_WITHDRAWN = NotReady("Nobody waits for this any more.")


class Worker:
    """A worker process: its end of the link, its metrics, and its one device.

    Raises, on making one:
        SystemExit: the model could not be loaded, which the other end has been told.

    """

    def __init__(
        self,
        config: ServingConfig,
        connections: Sequence[Connection],
        first_device: int,
        start: Callable[["Worker"], ModelInfo],
    ) -> None:
        logs.configure()
        quieten()
        place = int(os.environ["LITSERVE_WORKER_ID"])
        for other in (*connections[:place], *connections[place + 1 :]):
            other.close()
        self.link: Link[Told, Asked] = Link(connections[place])
        self.metrics = make_metrics()
        self.withdrawals = Withdrawals()
        self.on_late_withdrawal: Callable[[int], None] = lambda _: None
        # Whoever started this process ends it, when all is answered: by a message.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if config.device == "cuda":
            os.environ["CUDA_VISIBLE_DEVICES"] = visible_device(os.environ, first_device + place)
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        # Its usual lock is known to multiprocessing, which would report it lost at the end.
        tqdm.set_lock(threading.RLock())
        self.link.send(Up())
        try:
            model = start(self)
        except StartupError as error:
            self.link.send(Failed(error))
            raise SystemExit(1) from error
        self.link.send(Ready(model))

    def tells_steps(self, ticket: Ticket) -> OnStep | None:
        """What an engine is to call on each step of a ticket."""
        if not ticket.wants_steps:
            return None
        return lambda step, steps: self.link.send(Stepped(ticket.number, step, steps))

    def _listen(self) -> None:
        for message in self.link.messages():
            self._answer(message)
        os._exit(1)  # the other end has gone, and with it everybody who waits for an image

    def _answer(self, message: Asked) -> None:
        match message:
            case Withdraw(number):
                if not self.withdrawals.add(number):
                    self.on_late_withdrawal(number)
            case Measure(question):
                families = tuple(self.metrics.registry.collect())
                self.link.send(Measured(question, families))
            case End():
                os._exit(0)  # what is still being made is for nobody


class _API(LitAPI):  # type: ignore[misc] # it carries no annotations
    """What both modes tell a worker through LitServe, which pickles its API into the process."""

    def __init__(
        self,
        config: ServingConfig,
        connections: Sequence[Connection],
        *,
        first_device: int = 0,
        load: Load = load_model,
        max_batch_size: int = 1,
        batch_timeout: float = 0.0,
        api_path: str = "/predict",
        enable_async: bool = False,
    ) -> None:
        super().__init__(
            max_batch_size=max_batch_size,
            batch_timeout=batch_timeout,
            api_path=api_path,
            enable_async=enable_async,
        )
        self._config = config
        self._connections = connections
        self._first_device = first_device
        self._load = load

    def _work(self, start: Callable[[Worker], ModelInfo]) -> Worker:
        return Worker(self._config, self._connections, self._first_device, start)


class EngineAPI(_API):
    """LitServe carries each request as it comes; the engine in the worker forms the batches."""

    _maker: EngineMaker

    def setup(self, device: str) -> None:  # noqa: ARG002 - the worker picks its device itself
        self._running: dict[int, asyncio.Task[Result]] = {}
        self._worker = self._work(self._start)

    def _start(self, worker: Worker) -> ModelInfo:
        engine = make_engine(self._config, worker.metrics, self._load)
        engine.start()
        runner = engine.ready.result()

        def on_end(ended: Future[None]) -> None:
            if isinstance(error := ended.exception(), StartupError):
                worker.link.send(Failed(error))

        engine.ended.add_done_callback(on_end)
        self._maker = EngineMaker(engine, worker.metrics)
        return ModelInfo.of(runner)

    # LitServe describes a route by the annotations of these two. Being coroutines keeps them from
    # being called on a thread.
    async def decode_request(self, request: Any) -> Any:
        return request

    async def predict(self, x: Ticket) -> Outcome:
        worker, loop = self._worker, asyncio.get_running_loop()
        worker.on_late_withdrawal = lambda number: _call(loop, self._cancel, number)
        if worker.withdrawals.take(x.number):
            worker.metrics.rejected.labels("hang_up").inc()
            return _WITHDRAWN
        making = asyncio.ensure_future(self._maker.run(x.generation, worker.tells_steps(x)))
        self._running[x.number] = making
        try:
            return await making
        except RequestError as error:
            return error
        except asyncio.CancelledError:
            return _WITHDRAWN
        finally:
            del self._running[x.number]

    async def encode_response(self, output: Any) -> Any:
        return output

    def _cancel(self, number: int) -> None:
        if (making := self._running.get(number)) is not None:
            making.cancel()


class FrameworkAPI(_API):
    """LitServe forms the batches, as its documentation tells: `max_batch_size` and `batch_timeout`.

    Its worker calls the pipeline itself; there is no engine.
    """

    _runner: BatchRunner

    def setup(self, device: str) -> None:  # noqa: ARG002 - the worker picks its device itself
        self._worker = self._work(self._start)

    def _start(self, worker: Worker) -> ModelInfo:
        self._runner = load_runner(self._config, worker.metrics, load=self._load)
        return ModelInfo.of(self._runner)

    def predict(self, x: Ticket | Sequence[Ticket]) -> Outcome | Sequence[Outcome]:
        """Makes a batch's images; LitServe hands over a lone ticket if batches are of 1."""
        return self._make([x])[0] if isinstance(x, Ticket) else self._make(x)

    def _make(self, batch: Sequence[Ticket]) -> Sequence[Outcome]:
        worker, begin = self._worker, time.monotonic()
        wanted = [ticket for ticket in batch if not worker.withdrawals.take(ticket.number)]
        worker.link.send(Started([ticket.number for ticket in wanted]))
        for ticket in wanted:
            worker.metrics.queue_seconds.observe(begin - ticket.submitted)
        try:
            outcomes = self._runner.run(
                [ticket.generation for ticket in wanted],
                [worker.tells_steps(ticket) for ticket in wanted],
            )
        except StartupError as error:  # the device is lost
            worker.link.send(Failed(error))
            outcomes = [NotReady(str(error))] * len(wanted)
        made = {
            ticket.number: _queued(outcome, begin - ticket.submitted)
            for ticket, outcome in zip(wanted, outcomes, strict=True)
        }
        return [made.get(ticket.number, _WITHDRAWN) for ticket in batch]


def _queued(outcome: Outcome, seconds: float) -> Outcome:
    return outcome if isinstance(outcome, RequestError) else replace(outcome, queue_seconds=seconds)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[int], None], number: int) -> None:
    loop.call_soon_threadsafe(function, number)


def quieten() -> None:
    """Has LitServe log through this program's handler, and nothing below warnings."""
    logger = logging.getLogger("litserve")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.WARNING)


def visible_device(environ: Mapping[str, str], index: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES that leaves only one of the visible devices."""
    visible = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return visible[index] if index < len(visible) else str(index)
