"""What runs in a Ray Serve replica: the whole surface, and one device behind it."""

import asyncio
import logging
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import ray
from prometheus_client import Metric
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from starlette.types import ASGIApp

from diffusion_serving.backends.rayserve.framework_batching import BatchingMaker
from diffusion_serving.backends.rayserve.in_flight import Guests
from diffusion_serving.backends.rayserve.metrics_aggregator import Ledger, Told
from diffusion_serving.backends.rayserve.replica_link import (
    Asked,
    Count,
    Drain,
    Failed,
    Inside,
    Loaded,
    link_to_node,
)
from diffusion_serving.config import ServingConfig, Settings
from diffusion_serving.engine import Result, State
from diffusion_serving.engine.client import Maker, ModelInfo
from diffusion_serving.engine.generation import Generation, OnStep
from diffusion_serving.engine_process.link import Lines
from diffusion_serving.engine_process.processes import EngineProcesses, share
from diffusion_serving.engine_process.startup import Load, load_runner
from diffusion_serving.http.app import create_app
from diffusion_serving.http.service import Service
from diffusion_serving.observability import logs
from diffusion_serving.observability.errors import StartupError
from diffusion_serving.observability.metrics import Metrics, make_metrics

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

log = logging.getLogger(__name__)

APPLICATION = "diffusion"
_PEER_SECONDS = 2.0
"""A replica that doesn't answer another by then is shown as it was at the last scrape."""
_PEER_POLL_SECONDS = 1.0


class Device(Protocol):
    """Whatever makes the images of this replica."""

    ready: Future[Any]
    ended: Future[None]

    def start(self) -> None: ...


class Replica:
    """The deployment. Ray Serve makes one for each device and asks each for its application."""

    def __init__(self, settings: Settings, load: Load) -> None:
        self._link = link_to_node()
        output = Lines(self._link.send)
        logs.configure(output)
        quieten()
        self._metrics = make_metrics()
        device, self._own = _device(settings.config, self._metrics, load, output)
        self._peers: PeersMaker | None = None
        if settings.config.devices > 1 or settings.config.rayserve.topology == "cluster":
            self._peers = PeersMaker(self._own, settings.config)
        self._service = Service(settings, self._peers or self._own, self._metrics)
        self._guests = Guests(create_app(self._service, self._metrics))
        self._node_id: str = ray.get_runtime_context().get_node_id()
        self._loop = asyncio.get_running_loop()
        device.ready.add_done_callback(self._tell)
        device.ended.add_done_callback(self._tell)
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        device.start()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._guests

    async def families(self) -> tuple[str, list[Metric]]:
        """Who this replica is and its own metrics, for the one that is scraped."""
        tag = serve.get_replica_context().replica_tag
        return tag, [*self._metrics.registry.collect(), *await self._own.metrics()]

    async def remembered(self, besides: Collection[str]) -> Told:
        """The metrics of replicas other than these, as far as this one has heard of them."""
        return self._peers.remembered(besides) if self._peers else {}

    async def state(self) -> State:
        """How this replica's own device is."""
        return self._own.state

    def _tell(self, future: Future[Any]) -> None:
        """Tells the node that the model has loaded, or why images can't be made."""
        error = future.exception()
        if isinstance(error, StartupError):
            self._link.send(Failed(error))
        elif error is None:
            self._link.send(Loaded(self._node_id))

    def _listen(self) -> None:
        for message in self._link.messages():
            asyncio.run_coroutine_threadsafe(self._obey(message), self._loop)

    async def _obey(self, message: Asked) -> None:
        match message:
            case Drain():
                self._service.drain()
            case Count():
                self._link.send(Inside(self._guests.inside))


class PeersMaker:
    """The maker of a replica among several: it speaks for all where one answer counts for all.

    It is ready when as many replicas are as the service has devices, and one scrape has the
    metrics of all. What it is asked to make, it makes alone: Serve has chosen it.
    """

    def __init__(self, own: Maker, config: ServingConfig) -> None:
        self._own = own
        # In a cluster workers come and go, so one is enough.
        self._wanted = config.devices if config.rayserve.topology == "pods" else 1
        self._ready = 0
        self._ledger = Ledger()
        self._peers: DeploymentHandle[Replica] | None = None
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    @property
    def state(self) -> State:
        if self._own.state is State.READY and self._ready < self._wanted:
            return State.LOADING
        return self._own.state

    @property
    def alive(self) -> bool:
        return self._own.alive

    @property
    def model(self) -> ModelInfo | None:
        return self._own.model

    async def run(self, generation: Generation, on_step: OnStep | None = None) -> Result:
        return await self._own.run(generation, on_step)

    async def metrics(self) -> Sequence[Metric]:
        me = serve.get_replica_context().replica_tag
        own, (answers, all_told) = await asyncio.gather(self._own.metrics(), self._ask("families"))
        told: dict[str, Sequence[Metric]] = dict(answers)
        # Where this one is missing, Serve has not told yet who is there.
        all_told &= told.pop(me, None) is not None
        known = [me, *told, *self._ledger.settled]
        remembered, all_remembered = await self._ask("remembered", known)
        self._ledger.take(told, remembered, all_told=all_told and all_remembered)
        return [*own, *self._ledger.families]

    def remembered(self, besides: Collection[str]) -> Told:
        return self._ledger.besides(besides)

    async def _watch(self) -> None:
        while True:
            states, _ = await self._ask("state")
            self._ready = states.count(State.READY)
            await asyncio.sleep(_PEER_POLL_SECONDS)

    async def _ask(self, method: str, *arguments: Any) -> tuple[list[Any], bool]:
        """What each replica answers, and whether all could be reached."""
        if self._peers is None:
            context = serve.get_replica_context()
            self._peers = serve.get_deployment_handle(context.deployment, context.app_name)
        try:
            answers = await self._peers.broadcast(method, *arguments).results_async(
                timeout_s=_PEER_SECONDS, return_exceptions=True
            )
        except (RayError, RayServeException, TimeoutError) as error:
            log.warning("other replicas do not answer", extra=logs.failure_fields(error))
            return [], False
        found = [answer for answer in answers if not isinstance(answer, BaseException)]
        return found, len(found) == len(answers)


def _device(
    config: ServingConfig, metrics: Metrics, load: Load, output: TextIO
) -> tuple[Device, Maker]:
    """What makes the images of one replica, not started, and the maker in front of it."""
    # Ray shows a replica the one device that is its own.
    alone = share(config)
    if config.batching.mode == "framework":
        maker = BatchingMaker(alone, metrics, lambda: load_runner(alone, metrics, load=load))
        return maker, maker
    engines = EngineProcesses(alone, load, output)
    return engines, engines.maker


def quieten() -> None:
    """Keeps Ray's chatter out of the log; what it warns of stays."""
    for name in ("ray", "ray.serve"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers.clear()
        logger.propagate = True
