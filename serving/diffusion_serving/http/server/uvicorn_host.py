"""uvicorn in this process's main thread, from start to the last answer after SIGTERM."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from diffusion_serving.http.server.header_limit import BoundedHeads
from diffusion_serving.http.server.listener import listen
from diffusion_serving.http.service import Service
from diffusion_serving.settings import Settings

log = logging.getLogger("diffusion_serving")

KEEP_ALIVE_SECONDS = 620
"""Longer than clients and proxies keep idle connections, so that they close first: a server's close
can cross with the next request on the connection. Google's load balancers keep them for 600 s."""
_ROUNDS = 10
"""Rounds of the event loop in which all is read that came while this process had no core."""
_REFUSAL_SECONDS = 2.0
"""The longest that refusals may take on their way to the clients before the end."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would stop it at once and then kill it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes as uvicorn does, once it has read the requests that have arrived.

        uvicorn itself resets connections that wait to be accepted, and closes those whose next
        request it hasn't read; a process without a core has many of both.
        """
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        await super().shutdown(sockets)


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
        SystemExit: the port is taken.
        StartupError: the engines have failed.

    """
    listener = listen(settings.host, settings.port)
    server = _Server(
        uvicorn.Config(
            app,
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
        runner.run(_Host(server, listener, settings, service, engines).run())
    for future in (engines.ready, engines.ended):
        if future.done():
            future.result()


class _Host:
    """The life of the server on its event loop."""

    def __init__(
        self,
        server: uvicorn.Server,
        listener: socket.socket,
        settings: Settings,
        service: Service,
        engines: Engines,
    ) -> None:
        self._server = server
        self._listener = listener
        self._settings = settings
        self._service = service
        self._engines = engines
        self._stop, self._failed = asyncio.Event(), asyncio.Event()
        self._forced = asyncio.Event()
        """Set when no answer is waited for any more."""

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number.name)
        async with self._engines.running:
            for future in (self._engines.ready, self._engines.ended):
                future.add_done_callback(self._on_result)
            serving = asyncio.create_task(self._server.serve([self._listener]))
            try:
                await _first(serving, self._stop, self._failed)
                if self._stop.is_set() and self._engines.ready.done():
                    # Clients with open connections learn of the end before the listener closes.
                    await self._drained(serving)
            finally:
                self._server.should_exit = True
                await self._end(serving)

    def _on_signal(self, name: str) -> None:
        log.info("stopping", extra={"signal": name})
        if self._stop.is_set():  # a second signal: do not wait
            self._force()
        self._service.drain()
        self._stop.set()
        if (grace := self._settings.grace_seconds) is not None:
            self._loop.call_later(grace, self._give_up)

    def _give_up(self) -> None:
        """Refuses the requests that this process has no time for any more."""
        self._service.give_up()
        self._loop.call_later(_REFUSAL_SECONDS, self._force)

    def _force(self) -> None:
        self._server.force_exit = True
        self._forced.set()

    def _on_result(self, future: Future[Any]) -> None:
        if future.exception() is not None:
            self._loop.call_soon_threadsafe(self._failed.set)

    async def _drained(self, serving: "asyncio.Task[None]") -> None:
        """Returns when no request has arrived for the drain's time, or not within its limit.

        The time in which a cluster routes requests elsewhere has no bound where its nodes are busy.
        """
        quiet, now = self._settings.drain_seconds, time.monotonic()
        limit = now + max(quiet, self._settings.drain_limit_seconds)
        until = now + quiet
        while (left := min(until, limit) - time.monotonic()) > 0:
            await _first(serving, self._failed, self._forced, within=left)
            if serving.done() or self._failed.is_set() or self._forced.is_set():
                return
            until = max(until, self._service.last_arrival + quiet)

    async def _end(self, serving: "asyncio.Task[None]") -> None:
        """Waits for the last answer, and where that is forced no longer than for its refusal."""
        await _first(serving, self._forced)
        await asyncio.wait({serving}, timeout=_REFUSAL_SECONDS)
        if serving.done():
            serving.result()


async def _first(
    serving: "asyncio.Task[None]", *events: asyncio.Event, within: float | None = None
) -> None:
    """Waits until the server has ended or one of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        ends: set[asyncio.Future[Any]] = {serving, *waits}
        await asyncio.wait(ends, timeout=within, return_when="FIRST_COMPLETED")
    finally:
        for wait in waits:
            wait.cancel()
