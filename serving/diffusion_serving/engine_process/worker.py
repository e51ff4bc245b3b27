"""A worker process: its end of the link, and the engine that may be behind it."""

import asyncio
import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from tqdm import tqdm  # type: ignore[import-untyped] # it carries no annotations

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine import Outcome, Result
from diffusion_serving.engine.client import LocalEngineClient, ModelInfo
from diffusion_serving.engine.errors import EngineFailed, NotReady, RequestError
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine_process.cancellations import Cancellations
from diffusion_serving.engine_process.link import Link
from diffusion_serving.engine_process.messages import (
    Alive,
    Cancel,
    CheckAlive,
    CollectMetrics,
    Exit,
    Failed,
    Generate,
    Listening,
    MetricsCollected,
    Ready,
    StepDone,
    StepsEnded,
    WorkerCommand,
    WorkerEvent,
)
from diffusion_serving.engine_process.startup import Load, make_engine
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.observability.startup_errors import StartupError

log = logging.getLogger("diffusion_serving")

CANCELLED = NotReady("The client has left.")


class Worker:
    """A worker process: its end of the link, its metrics, and its one device.

    Args:
        device: index of the visible CUDA device that is to be the worker's only one.

    """

    def __init__(
        self, link: Link[WorkerEvent, WorkerCommand], config: ServingConfig, device: int
    ) -> None:
        self.link = link
        self.metrics = make_metrics()
        self.calls = DeviceCalls()
        """The calls of the device, of which `Alive` reports the one that runs."""
        self.cancellations = Cancellations()
        self.on_generate: Callable[[Generate], None] = lambda _: None
        self.on_late_cancel: Callable[[int], None] = lambda _: None
        # The parent process ends this one by a message, once every request is answered.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if config.device == "cuda":
            os.environ["CUDA_VISIBLE_DEVICES"] = visible_device(os.environ, device)
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        # Its usual lock is known to multiprocessing, which would report it lost at the end.
        tqdm.set_lock(threading.RLock())
        self.link.send(Listening())

    def start(self, load: Callable[[], ModelInfo]) -> None:
        """Loads the model, and reports its result over the link.

        Raises:
            SystemExit: the model could not be loaded.

        """
        try:
            model = load()
        except StartupError as error:
            self.link.send(Failed(error))
            raise SystemExit(1) from error
        self.link.send(Ready(model))

    def step_listener(self, command: Generate) -> OnStep | None:
        """Returns the function that reports a request's steps; None if no client follows them."""
        if not command.wants_steps:
            return None
        return lambda step, steps: self.link.send(StepDone(command.number, step, steps))

    def end_steps(self, command: Generate) -> None:
        """Reports, before the outcome of a request that wants its steps, that all were sent."""
        if command.wants_steps:
            self.link.send(StepsEnded(command.number))

    def _listen(self) -> None:
        for command in self.link.messages():
            self._handle(command)
        os._exit(1)  # the other end has gone, and with it every client

    def _handle(self, command: WorkerCommand) -> None:
        match command:
            case Generate():
                self.on_generate(command)
            case Cancel(number):
                if not self.cancellations.add(number):
                    self.on_late_cancel(number)
            case CollectMetrics(query):
                families = tuple(self.metrics.registry.collect())
                self.link.send(MetricsCollected(query, families))
            case CheckAlive():
                self.link.send(Alive(self.calls.running))
            case Exit():
                os._exit(0)


class EngineWorker:
    """A worker with an engine, which forms the batches. `load` loads its pipeline.

    Creating one raises SystemExit if the model could not be loaded; the link has the reason.
    """

    def __init__(self, worker: Worker, config: ServingConfig, load: Load) -> None:
        self._worker = worker
        self._engine = make_engine(config, worker.metrics, worker.calls, load)
        self._client = LocalEngineClient(self._engine, worker.metrics)
        self._running: dict[int, asyncio.Task[Result]] = {}
        worker.start(self._start)

    def _start(self) -> ModelInfo:
        self._engine.start()
        runner = self._engine.ready.result()
        self._engine.ended.add_done_callback(self._report_end)
        return ModelInfo.of(runner)

    def _report_end(self, ended: Future[None]) -> None:
        error = ended.exception()
        if isinstance(error, StartupError):
            self._worker.link.send(Failed(error))
        elif error is not None:  # an unhandled exception: the parent process sees this one end
            log.error("the engine ended", extra=failure_fields(error))
            os._exit(1)

    async def generate(self, command: Generate) -> Outcome:
        """Returns the outcome of a request. All calls share one event loop."""
        worker, loop = self._worker, asyncio.get_running_loop()
        worker.on_late_cancel = lambda number: _call(loop, self._cancel, number)
        if worker.cancellations.take(command.number):
            worker.metrics.rejected.labels("hang_up").inc()
            return CANCELLED
        running = asyncio.ensure_future(
            self._client.run(command.request, worker.step_listener(command))
        )
        self._running[command.number] = running
        try:
            result = await running
        except RequestError as error:
            return error
        except asyncio.CancelledError:
            return CANCELLED
        finally:
            del self._running[command.number]
        worker.end_steps(command)
        return result

    def _cancel(self, number: int) -> None:
        if (running := self._running.get(number)) is not None:
            running.cancel()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[int], None], number: int) -> None:
    loop.call_soon_threadsafe(function, number)


def unhandled(message: str, error: Exception) -> EngineFailed:
    """Logs an unhandled exception and returns the outcome of the request that met it."""
    error_id = uuid.uuid4().hex[:12]
    # A traceback with its message could show a prompt.
    log.error(message, extra={"error_id": error_id} | failure_fields(error))
    return EngineFailed(error_id)


def visible_device(environ: Mapping[str, str], index: int) -> str:
    """The value of CUDA_VISIBLE_DEVICES that leaves only one of the visible devices."""
    visible = [name for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return visible[index] if index < len(visible) else str(index)
