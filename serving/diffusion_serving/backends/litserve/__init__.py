"""LitServe: its queues and workers carry the requests of the one HTTP surface.

LitServe's own server is not run: it waits for the model before it listens, knows no SIGTERM, does
not notice clients that hang up and compresses every answer. The surface stands in front of its
request handler, in the process that started the workers.
"""

import gc
import multiprocessing
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.util import register_after_fork

from litserve import LitServer  # type: ignore[import-untyped] # it carries no annotations
from litserve.server import RegularRequestHandler  # type: ignore[import-untyped] # same
from litserve.utils import wrap_litserve_start  # type: ignore[import-untyped] # same

from diffusion_serving.backends.litserve.client import BoundedEnginePool, dispatch_by
from diffusion_serving.backends.litserve.worker import (
    SHORTEST_BATCH_TIMEOUT,
    EngineAPI,
    FrameworkAPI,
    quieten,
)
from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine.cpu_cores import lower_priority
from diffusion_serving.engine_process.clients import EnginePool, WorkerQueue
from diffusion_serving.engine_process.launcher import share
from diffusion_serving.engine_process.messages import WorkerLink
from diffusion_serving.engine_process.startup import Load, load_model
from diffusion_serving.http.app import create_app
from diffusion_serving.http.server.uvicorn_host import Engines, host
from diffusion_serving.http.service import Service
from diffusion_serving.observability.metrics import Metrics, make_metrics
from diffusion_serving.settings import Settings

KEPT = ("/", "/info")
"""Paths that LitServe answers itself."""

_API = EngineAPI | FrameworkAPI


def serve(settings: Settings, load: Load = load_model) -> int:
    """Serves until a signal comes; returns 0.

    Raises:
        StartupError: the model could not be loaded, or a worker ended.

    """
    quieten()
    # Until the event loop handles signals, a signal unwinds this function.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config, metrics = settings.config, make_metrics()
    ours, theirs = _pipes(config.devices)
    apis = make_apis(config, theirs, load)
    server = LitServer(
        apis,
        accelerator=config.device,
        devices=1 if len(apis) > 1 else config.devices,
        timeout=False,
        disable_openapi_url=True,
    )
    client = _client(settings, server, apis, ours, metrics)
    service = Service(settings, client, metrics)

    @asynccontextmanager
    async def running() -> AsyncGenerator[None]:
        client.workers.listen(server.inference_workers)
        async with server.lifespan(server.app):
            yield

    # LitServe forks a process of its own, and memory that the collector never touches stays shared
    # with it. Without this the first full collection took 19 MB more, and 150 ms.
    gc.freeze()
    with wrap_litserve_start(server):
        for connection in theirs:
            connection.close()
        if config.batching.mode != "framework":  # which stays as LitServe has it
            lower_priority()
        try:
            app = create_app(service, metrics, dict.fromkeys(KEPT, server.app))
            host(
                app,
                settings,
                service,
                Engines(running(), client.workers.ready, client.workers.ended),
            )
        finally:
            client.workers.end()
    service.close()
    return 0


def make_apis(
    config: ServingConfig, connections: Sequence[Connection], load: Load = load_model
) -> list[_API]:
    """Returns LitServe's APIs, each with a queue of its own.

    With engines each device has an API, so that the surface can dispatch a request to the device
    with the least to do. LitServe's own batching is left as it is: its workers share one API.
    """
    batching = config.batching
    if batching.mode == "framework":
        wait = max(batching.max_wait_milliseconds / 1000, SHORTEST_BATCH_TIMEOUT)
        api = FrameworkAPI(
            config, connections, load=load, max_batch_size=batching.usual_size, batch_timeout=wait
        )
        return [api]
    return [
        EngineAPI(
            share(config),
            [connection],
            first_device=place,
            load=load,
            api_path=f"/engines/{place}",
            enable_async=True,
        )
        for place, connection in enumerate(connections)
    ]


def _client(
    settings: Settings,
    server: LitServer,
    apis: Sequence[_API],
    connections: Sequence[Connection],
    metrics: Metrics,
) -> EnginePool:
    config, silence = settings.config, settings.silence_seconds
    links = [WorkerLink(connection) for connection in connections]
    dispatches = [dispatch_by(RegularRequestHandler(api, server).handle_request) for api in apis]
    if config.batching.mode == "framework":
        queue = WorkerQueue(dispatches[0], links)
        return BoundedEnginePool([queue], config.queue, config.batching, metrics, silence)
    return EnginePool(
        [WorkerQueue(dispatch, [link]) for dispatch, link in zip(dispatches, links, strict=True)],
        queue_timeout=config.queue.timeout_seconds,
        silence=silence,
    )


def _pipes(count: int) -> tuple[list[Connection], list[Connection]]:
    """The ends of pipes to the workers, which LitServe's queue process must not keep open."""
    ours, theirs = zip(*(multiprocessing.Pipe() for _ in range(count)), strict=True)
    for connection in (*ours, *theirs):
        register_after_fork(connection, Connection.close)
    return list(ours), list(theirs)
