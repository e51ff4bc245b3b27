"""FastAPI with uvicorn: the whole server is one process with the engine in one of its threads."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Generator
from typing import Any

import uvicorn

from diffusion_serving.config import Settings
from diffusion_serving.engine import Engine
from diffusion_serving.maker import EngineMaker
from diffusion_serving.metrics import make_metrics
from diffusion_serving.routes import create_app
from diffusion_serving.service import Service
from diffusion_serving.startup import make_engine

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""Longer than clients and proxies keep idle connections, so that they close first: a server that
closes an idle connection can cross with the next request on it."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it would stop at once and then die of the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve(settings: Settings) -> int:
    """Serves until a signal comes; returns 0.

    Raises:
        StartupError: the model could not be loaded.

    """
    metrics = make_metrics()
    engine = make_engine(settings.config, metrics)
    service = Service(settings, EngineMaker(engine, metrics), metrics)
    server = _Server(
        uvicorn.Config(
            create_app(service, metrics),
            host=settings.host,
            port=settings.port,
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
        runner.run(_serve(server, engine, service, settings.drain_seconds))
    engine.stop(timeout=1.0)  # what it may still be doing is for nobody
    service.close()
    return 0


async def _serve(
    server: uvicorn.Server, engine: Engine, service: Service, drain_seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(name: str) -> None:
        if stop.is_set():  # a second signal: somebody does not want to wait
            server.force_exit = True
        log.info("stopping", extra={"signal": name})
        service.drain()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    engine.start()
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    loading = asyncio.wrap_future(engine.ready)
    try:
        ends: set[asyncio.Future[Any]] = {serving, stopping, loading}
        await asyncio.wait(ends, return_when="FIRST_COMPLETED")
        if not serving.done() and not (loading.done() and loading.exception()):
            await asyncio.wait({serving, stopping}, return_when="FIRST_COMPLETED")
            await asyncio.sleep(drain_seconds)
    finally:
        server.should_exit = True
        await serving
        stopping.cancel()
    if loading.done():
        loading.result()
