"""The Ray Serve replica: the whole HTTP surface, and one device behind it."""

import asyncio
import logging
import threading
import time
from collections.abc import Collection
from concurrent.futures import Future
from typing import Any, Protocol, TextIO

import ray
from prometheus_client import Metric
from ray import serve
from starlette.types import ASGIApp

from diffusion_serving.backends.rayserve.framework_batching import FrameworkBatchingClient
from diffusion_serving.backends.rayserve.in_flight import InFlightCounter
from diffusion_serving.backends.rayserve.metrics_aggregator import ReplicaMetrics
from diffusion_serving.backends.rayserve.replica_link import (
    CountInFlight,
    Drain,
    Failed,
    GiveUp,
    InFlight,
    Loaded,
    ReplicaCommand,
    link_to_node,
)
from diffusion_serving.backends.rayserve.replica_set import ReplicaSetClient
from diffusion_serving.engine import State
from diffusion_serving.engine.client import EngineClient
from diffusion_serving.engine_process.launcher import EngineProcesses, share
from diffusion_serving.engine_process.link import LogStream
from diffusion_serving.engine_process.startup import Load, load_runner
from diffusion_serving.http.app import create_app
from diffusion_serving.http.service import Service
from diffusion_serving.observability import logs
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.metrics import Metrics, make_metrics
from diffusion_serving.observability.startup_errors import StartupError
from diffusion_serving.settings import Settings

APPLICATION = "diffusion"


class Device(Protocol):
    """The device of a replica and its engine."""

    ready: Future[Any]
    ended: Future[None]

    def start(self) -> None: ...


class Replica:
    """The Serve deployment: Ray Serve creates one for each device and runs its application."""

    def __init__(self, settings: Settings, load: Load) -> None:
        self._link = link_to_node()
        output = LogStream(self._link.send)
        logs.configure(output)
        quieten()
        self._metrics = make_metrics()
        device, self._own = _device(settings, self._metrics, load, output)
        self._replicas: ReplicaSetClient | None = None
        if settings.config.devices > 1 or settings.config.rayserve.topology == "cluster":
            self._replicas = ReplicaSetClient(self._own, settings.config)
        self._service = Service(settings, self._replicas or self._own, self._metrics)
        self._app = InFlightCounter(create_app(self._service, self._metrics))
        self._node_id: str = ray.get_runtime_context().get_node_id()
        self._loop = asyncio.get_running_loop()
        device.ready.add_done_callback(self._report)
        device.ended.add_done_callback(self._report)
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        device.start()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app

    async def families(self) -> tuple[str, list[Metric]]:
        """Returns this replica's tag and its own metrics, for the replica that is scraped."""
        tag = serve.get_replica_context().replica_tag
        return tag, [*self._metrics.registry.collect(), *await self._own.metrics()]

    async def remembered(self, besides: Collection[str]) -> ReplicaMetrics:
        """Returns the metrics of replicas other than these, as this one remembers them."""
        return self._replicas.remembered(besides) if self._replicas else {}

    async def state(self) -> State:
        """Returns the state of this replica's own device."""
        return self._own.state

    def _report(self, future: Future[Any]) -> None:
        """Reports to the node that the model has loaded, or why there are no images."""
        error = future.exception()
        if isinstance(error, StartupError):
            self._link.send(Failed(error))
        elif error is None:
            self._link.send(Loaded(self._node_id))

    def _listen(self) -> None:
        for command in self._link.messages():
            asyncio.run_coroutine_threadsafe(self._handle(command), self._loop)

    async def _handle(self, command: ReplicaCommand) -> None:
        match command:
            case Drain():
                self._service.drain()
            case CountInFlight():
                quiet = time.monotonic() - self._service.last_arrival
                self._link.send(InFlight(self._app.in_flight, quiet))
            case GiveUp():
                self._service.give_up()


def _device(
    settings: Settings, metrics: Metrics, load: Load, output: TextIO
) -> tuple[Device, EngineClient]:
    """Returns the device of one replica, not started, and its engine's client."""
    # Ray shows a replica the one device that is its own.
    config, alone = settings.config, share(settings.config)
    if config.batching.mode == "framework":
        calls = DeviceCalls()
        client = FrameworkBatchingClient(
            alone, metrics, lambda: load_runner(alone, metrics, calls, load=load), calls
        )
        return client, client
    engines = EngineProcesses(alone, load, output, settings.silence_seconds)
    return engines, engines.client


def quieten() -> None:
    """Keeps Ray's messages below warnings out of the log."""
    for name in ("ray", "ray.serve"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers.clear()
        logger.propagate = True
