"""FastAPI with uvicorn in this process, and each device's engine in a process of its own."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from diffusion_serving.engine_process.launcher import EngineProcesses
from diffusion_serving.engine_process.startup import Load, load_model
from diffusion_serving.http.app import create_app
from diffusion_serving.http.server.uvicorn_host import Engines, host
from diffusion_serving.http.service import Service
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.settings import Settings


def serve(settings: Settings, load: Load = load_model) -> int:
    """Serves until a signal comes; returns 0.

    Raises:
        StartupError: the model could not be loaded, its device was lost, or its process ended.

    """
    metrics = make_metrics()
    engines = EngineProcesses(settings.config, load, sys.stdout, settings.silence_seconds)
    service = Service(settings, engines.client, metrics)

    @asynccontextmanager
    async def running() -> AsyncGenerator[None]:
        engines.start()
        yield

    app = create_app(service, metrics)
    try:
        host(app, settings, service, Engines(running(), engines.ready, engines.ended))
    finally:
        engines.end()
    service.close()
    return 0
