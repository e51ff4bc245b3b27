"""uvicorn in this process's main thread, from start to the last answer after SIGTERM."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from diffusion_serving.http.server.header_limit import BoundedHeads
from diffusion_serving.http.service import Service
from diffusion_serving.settings import Settings

log = logging.getLogger("diffusion_serving")

KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep idle connections, so that they close first: a server's close
can cross with the next request on the connection."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would stop it at once and then kill it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@dataclass(frozen=True)
class Engines:
    """The engines behind the server, and their life."""

    running: AbstractAsyncContextManager[None]
    """Entered before the first request is taken, left after the last one is answered."""
    ready: Future[Any]
    """Resolves when the model has loaded; holds a `StartupError` if it can't be."""
    ended: Future[Any]
    """Resolves when the engines have ended; holds a `StartupError` if `stop` did not cause it."""


def host(app: ASGIApp, settings: Settings, service: Service, engines: Engines) -> None:
    """Serves until a signal comes and every request is answered.

    Raises:
        StartupError: the engines have failed.

    """
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=BoundedHeads,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_serve(server, service, engines, settings.drain_seconds))
    for future in (engines.ready, engines.ended):
        if future.done():
            future.result()


async def _serve(
    server: uvicorn.Server, service: Service, engines: Engines, drain_seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    stop, failed = asyncio.Event(), asyncio.Event()

    def on_signal(name: str) -> None:
        if stop.is_set():  # a second signal: do not wait
            server.force_exit = True
        log.info("stopping", extra={"signal": name})
        service.drain()
        stop.set()

    def on_result(future: Future[Any]) -> None:
        if future.exception() is not None:
            loop.call_soon_threadsafe(failed.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    async with engines.running:
        for future in (engines.ready, engines.ended):
            future.add_done_callback(on_result)
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        failing = asyncio.create_task(failed.wait())
        try:
            ends: set[asyncio.Future[Any]] = {serving, stopping, failing}
            await asyncio.wait(ends, return_when="FIRST_COMPLETED")
            if stopping.done() and engines.ready.done():
                # A client with an open connection learns of the end before the listener closes.
                await asyncio.wait({serving, failing}, timeout=drain_seconds)
        finally:
            server.should_exit = True
            await serving
            stopping.cancel()
            failing.cancel()
