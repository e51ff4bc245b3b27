"""An engine's process: `python -m diffusion_serving.engine_process.process DESCRIPTOR`.

The descriptor is its end of the link, whose first message says what to do.
"""

import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from diffusion_serving.config import ServingConfig
from diffusion_serving.engine_process.link import Lines, Link
from diffusion_serving.engine_process.messages import Asked, Made, Ticket, Told
from diffusion_serving.engine_process.startup import Load
from diffusion_serving.engine_process.worker import EngineWorker, Worker, failed
from diffusion_serving.observability import logs


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine's process is to do, on which of the visible devices."""

    config: ServingConfig
    device: int
    load: Load


def main() -> None:
    """Makes what is asked for until the other end says that it is over, or has gone."""
    connection = Connection(int(sys.argv[1]))
    work: Work = connection.recv()
    link: Link[Told, Asked] = Link(connection)
    logs.configure(Lines(link.send))
    loop = uvloop.new_event_loop()
    worker = Worker(link, work.config, work.device)

    async def answer(ticket: Ticket) -> None:
        try:
            outcome = await engine.make(ticket)
        except Exception as error:  # noqa: BLE001 - it raises nothing, so it is a defect
            outcome = failed("the engine's process failed on a request", error)
        link.send(Made(ticket.number, outcome))

    worker.on_ticket = lambda ticket: _run(loop, answer(ticket))
    engine = EngineWorker(worker, work.config, work.load)
    loop.run_forever()


def _run(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run_coroutine_threadsafe(coroutine, loop)


if __name__ == "__main__":
    main()
