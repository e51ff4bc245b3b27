"""A worker process's end of its link, and the engine that may be behind it."""

import asyncio
import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from tqdm import tqdm  # type: ignore[import-untyped] # it carries no annotations

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine import Outcome, Result
from diffusion_serving.engine.client import EngineMaker, ModelInfo
from diffusion_serving.engine.generation import OnStep
from diffusion_serving.engine_process.cancellations import Withdrawals
from diffusion_serving.engine_process.link import Link
from diffusion_serving.engine_process.messages import (
    Asked,
    End,
    Failed,
    Make,
    Measure,
    Measured,
    Ready,
    Stepped,
    Ticket,
    Told,
    Up,
    Withdraw,
)
from diffusion_serving.engine_process.startup import Load, make_engine
from diffusion_serving.observability.errors import (
    EngineFailed,
    NotReady,
    RequestError,
    StartupError,
)
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import make_metrics

log = logging.getLogger(__name__)

WITHDRAWN = NotReady("Nobody waits for this any more.")


class Worker:
    """A worker process: its end of the link, its metrics, and its one device.

    Args:
        device: which of the visible ones is to be the only one, where they are CUDA's.

    """

    def __init__(self, link: Link[Told, Asked], config: ServingConfig, device: int) -> None:
        self.link = link
        self.metrics = make_metrics()
        self.withdrawals = Withdrawals()
        self.on_ticket: Callable[[Ticket], None] = lambda _: None
        self.on_late_withdrawal: Callable[[int], None] = lambda _: None
        # Whoever started this process ends it, when all is answered: by a message.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if config.device == "cuda":
            os.environ["CUDA_VISIBLE_DEVICES"] = visible_device(os.environ, device)
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        # Its usual lock is known to multiprocessing, which would report it lost at the end.
        tqdm.set_lock(threading.RLock())
        self.link.send(Up())

    def start(self, load: Callable[[], ModelInfo]) -> None:
        """Loads the model, and tells the other end how that went.

        Raises:
            SystemExit: the model could not be loaded.

        """
        try:
            model = load()
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
            case Make(ticket):
                self.on_ticket(ticket)
            case Withdraw(number):
                if not self.withdrawals.add(number):
                    self.on_late_withdrawal(number)
            case Measure(question):
                families = tuple(self.metrics.registry.collect())
                self.link.send(Measured(question, families))
            case End():
                os._exit(0)  # what is still being made is for nobody


class EngineWorker:
    """A worker with an engine that forms the batches. `load` makes its pipeline.

    Raises, on making one:
        SystemExit: the model could not be loaded, which the other end has been told.

    """

    def __init__(self, worker: Worker, config: ServingConfig, load: Load) -> None:
        self._worker = worker
        self._engine = make_engine(config, worker.metrics, load)
        self._maker = EngineMaker(self._engine, worker.metrics)
        self._running: dict[int, asyncio.Task[Result]] = {}
        worker.start(self._start)

    def _start(self) -> ModelInfo:
        self._engine.start()
        runner = self._engine.ready.result()
        self._engine.ended.add_done_callback(self._tell_end)
        return ModelInfo.of(runner)

    def _tell_end(self, ended: Future[None]) -> None:
        error = ended.exception()
        if isinstance(error, StartupError):
            self._worker.link.send(Failed(error))
        elif error is not None:  # a defect: whoever started this process sees it end
            log.error("the engine ended", extra=failure_fields(error))
            os._exit(1)

    async def make(self, ticket: Ticket) -> Outcome:
        """What becomes of a ticket. Its coroutines share one event loop."""
        worker, loop = self._worker, asyncio.get_running_loop()
        worker.on_late_withdrawal = lambda number: _call(loop, self._cancel, number)
        if worker.withdrawals.take(ticket.number):
            worker.metrics.rejected.labels("hang_up").inc()
            return WITHDRAWN
        making = asyncio.ensure_future(
            self._maker.run(ticket.generation, worker.tells_steps(ticket))
        )
        self._running[ticket.number] = making
        try:
            return await making
        except RequestError as error:
            return error
        except asyncio.CancelledError:
            return WITHDRAWN
        finally:
            del self._running[ticket.number]

    def _cancel(self, number: int) -> None:
        if (making := self._running.get(number)) is not None:
            making.cancel()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[int], None], number: int) -> None:
    loop.call_soon_threadsafe(function, number)


def failed(said: str, error: Exception) -> EngineFailed:
    """The outcome where what carries tickets, or makes them, has a defect."""
    error_id = uuid.uuid4().hex[:12]
    # A traceback with its message could show a prompt.
    log.error(said, extra={"error_id": error_id} | failure_fields(error))
    return EngineFailed(error_id)


def visible_device(environ: Mapping[str, str], index: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES that leaves only one of the visible devices."""
    visible = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return visible[index] if index < len(visible) else str(index)
