"""LitServe's hooks in a worker process, with an engine or a bare pipeline behind them."""

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

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine import BatchRunner, Outcome
from diffusion_serving.engine.client import ModelInfo
from diffusion_serving.engine.errors import NotReady, RequestError
from diffusion_serving.engine_process.link import Link
from diffusion_serving.engine_process.messages import (
    Failed,
    Generate,
    Started,
    WorkerCommand,
    WorkerEvent,
)
from diffusion_serving.engine_process.startup import Load, load_model, load_runner
from diffusion_serving.engine_process.worker import CANCELLED, EngineWorker, Worker
from diffusion_serving.observability import logs
from diffusion_serving.observability.startup_errors import StartupError

SHORTEST_BATCH_TIMEOUT = 0.01
"""Seconds. With a timeout of 0 LitServe's loop polls its queue without a pause and spends a core.
Within 1 ms it often takes only some of the waiting requests, and forms small batches of many."""
_SWITCH_SECONDS = 0.0005


class _API(LitAPI):  # type: ignore[misc] # it carries no annotations
    """The part that both modes share; LitServe pickles its API into the worker's process."""

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
        link: Link[WorkerEvent, WorkerCommand] = Link(self._connections[place])
        return Worker(link, self._config, self._first_device + place)


class EngineAPI(_API):
    """LitServe carries each request as it comes; the engine in the worker forms the batches."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the worker picks its device itself
        # LitServe's own threads run here, too: so the engine's thread gets the interpreter sooner.
        sys.setswitchinterval(_SWITCH_SECONDS)
        # LitServe creates this worker's event loop afterwards.
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        self._engine = EngineWorker(self._worker_of_this_process(), self._config, self._load)

    # LitServe describes a route by the annotations of these two. Being coroutines keeps them from
    # being called on a thread.
    async def decode_request(self, request: Any) -> Any:
        return request

    async def predict(self, x: Generate) -> Outcome:
        return await self._engine.generate(x)

    async def encode_response(self, output: Any) -> Any:
        return output


class FrameworkAPI(_API):
    """LitServe forms the batches as it documents: by `max_batch_size` and `batch_timeout`.

    Its worker calls the pipeline itself; there is no engine.
    """

    _runner: BatchRunner

    def setup(self, device: str) -> None:  # noqa: ARG002 - the worker picks its device itself
        self._worker = self._worker_of_this_process()
        self._worker.start(self._start)

    def _start(self) -> ModelInfo:
        self._runner = load_runner(
            self._config, self._worker.metrics, self._worker.calls, load=self._load
        )
        return ModelInfo.of(self._runner)

    def predict(self, x: Generate | Sequence[Generate]) -> Outcome | Sequence[Outcome]:
        """Generates a batch's images; LitServe passes a lone request if batches are of 1."""
        return self._generate([x])[0] if isinstance(x, Generate) else self._generate(x)

    def _generate(self, batch: Sequence[Generate]) -> Sequence[Outcome]:
        worker, begin = self._worker, time.monotonic()
        active = [one for one in batch if not worker.cancellations.take(one.number)]
        worker.link.send(Started([one.number for one in active]))
        for one in active:
            worker.metrics.queue_seconds.observe(begin - one.submitted)
        try:
            requests = [one.request for one in active]
            listeners = [worker.step_listener(one) for one in active]
            outcomes = self._runner.check.applied(requests, self._runner.run(requests, listeners))
        except StartupError as error:  # the device is lost
            worker.link.send(Failed(error))
            outcomes = [NotReady(str(error))] * len(active)
        for one in active:
            worker.end_steps(one)
        finished = {
            one.number: _with_queue_time(outcome, begin - one.submitted)
            for one, outcome in zip(active, outcomes, strict=True)
        }
        return [finished.get(one.number, CANCELLED) for one in batch]


def _with_queue_time(outcome: Outcome, seconds: float) -> Outcome:
    return outcome if isinstance(outcome, RequestError) else replace(outcome, queue_seconds=seconds)


def quieten() -> None:
    """Makes LitServe log through this program's handler, and nothing below warnings."""
    logger = logging.getLogger("litserve")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.WARNING)
