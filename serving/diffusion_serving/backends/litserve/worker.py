"""What runs in a LitServe worker process: its hooks, with an engine or a bare pipeline behind."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from litserve import LitAPI  # type: ignore[import-untyped] # it carries no annotations

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine import BatchRunner, Outcome
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine_process.link import Link
from diffusion_serving.engine_process.messages import Asked, Failed, Started, Ticket, Told
from diffusion_serving.engine_process.startup import Load, load_model, load_runner
from diffusion_serving.engine_process.worker import WITHDRAWN, EngineWorker, Worker
from diffusion_serving.observability import logs
from diffusion_serving.observability.errors import NotReady, RequestError, StartupError

SHORTEST_BATCH_TIMEOUT = 0.01
"""Seconds. With a timeout of 0 LitServe's loop asks its queue without a pause: a core is spent.
Within 1 ms it often takes only some of the requests that wait, and makes small batches of many."""
_SWITCH_SECONDS = 0.0005


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

    def _worker_of_this_process(self) -> Worker:
        logs.configure()
        quieten()
        place = int(os.environ["LITSERVE_WORKER_ID"])
        for other in (*self._connections[:place], *self._connections[place + 1 :]):
            other.close()
        link: Link[Told, Asked] = Link(self._connections[place])
        return Worker(link, self._config, self._first_device + place)


class EngineAPI(_API):
    """LitServe carries each request as it comes; the engine in the worker forms the batches."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the worker picks its device itself
        # LitServe's own threads are here, too: the engine's gets the interpreter back sooner.
        sys.setswitchinterval(_SWITCH_SECONDS)
        # LitServe makes this worker's event loop afterwards.
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        self._engine = EngineWorker(self._worker_of_this_process(), self._config, self._load)

    # LitServe describes a route by the annotations of these two. Being coroutines keeps them from
    # being called on a thread.
    async def decode_request(self, request: Any) -> Any:
        return request

    async def predict(self, x: Ticket) -> Outcome:
        return await self._engine.make(x)

    async def encode_response(self, output: Any) -> Any:
        return output


class FrameworkAPI(_API):
    """LitServe forms the batches, as its documentation tells: `max_batch_size` and `batch_timeout`.

    Its worker calls the pipeline itself; there is no engine.
    """

    _runner: BatchRunner

    def setup(self, device: str) -> None:  # noqa: ARG002 - the worker picks its device itself
        self._worker = self._worker_of_this_process()
        self._worker.start(self._start)

    def _start(self) -> ModelInfo:
        self._runner = load_runner(self._config, self._worker.metrics, load=self._load)
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
        return [made.get(ticket.number, WITHDRAWN) for ticket in batch]


def _queued(outcome: Outcome, seconds: float) -> Outcome:
    return outcome if isinstance(outcome, RequestError) else replace(outcome, queue_seconds=seconds)


def quieten() -> None:
    """Has LitServe log through this program's handler, and nothing below warnings."""
    logger = logging.getLogger("litserve")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.WARNING)
