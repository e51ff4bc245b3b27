"""An engine's process: `python -m diffusion_serving.engine_process DESCRIPTOR`.

The descriptor is the process's end of the link, whose first message is its `EngineSpec`.
"""

import asyncio
import sys
from collections.abc import Coroutine
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import uvloop

from diffusion_serving.engine_process.link import Link, LogStream
from diffusion_serving.engine_process.messages import (
    Finished,
    Generate,
    WorkerCommand,
    WorkerEvent,
)
from diffusion_serving.engine_process.worker import EngineWorker, Worker, unhandled
from diffusion_serving.observability import logs

if TYPE_CHECKING:
    from diffusion_serving.engine_process.startup import EngineSpec


def main() -> None:
    """Runs the engine until the other end of the link sends the end, or has gone."""
    connection = Connection(int(sys.argv[1]))
    spec: EngineSpec = connection.recv()
    link: Link[WorkerEvent, WorkerCommand] = Link(connection)
    logs.configure(LogStream(link.send))
    loop = uvloop.new_event_loop()
    worker = Worker(link, spec.config, spec.device)

    async def answer(command: Generate) -> None:
        try:
            outcome = await engine.generate(command)
        except Exception as error:  # noqa: BLE001 - no exception is expected here
            outcome = unhandled("the engine's process failed on a request", error)
        link.send(Finished(command.number, outcome))

    worker.on_generate = lambda command: _run(loop, answer(command))
    engine = EngineWorker(worker, spec.config, spec.load)
    loop.run_forever()


def _run(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run_coroutine_threadsafe(coroutine, loop)


if __name__ == "__main__":
    main()
