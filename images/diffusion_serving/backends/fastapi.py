"""FastAPI with uvicorn: the whole server is one process with the engine in one of its threads."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from diffusion_serving.backends.hosting import Engines, host
from diffusion_serving.config import Settings
from diffusion_serving.maker import EngineMaker
from diffusion_serving.metrics import make_metrics
from diffusion_serving.routes import create_app
from diffusion_serving.service import Service
from diffusion_serving.startup import Load, load_model, make_engine


def serve(settings: Settings, load: Load = load_model) -> int:
    """Serves until a signal comes; returns 0.

    Raises:
        StartupError: the model could not be loaded, or its device was lost.

    """
    metrics = make_metrics()
    engine = make_engine(settings.config, metrics, load)
    service = Service(settings, EngineMaker(engine, metrics), metrics)

    @asynccontextmanager
    async def running() -> AsyncGenerator[None]:
        engine.start()
        yield

    app = create_app(service, metrics)
    host(app, settings, service, Engines(running(), engine.ready, engine.ended))
    engine.stop(timeout=1.0)  # what it may still be doing is for nobody
    service.close()
    return 0
