"""The engine client of a replica among several: one answer counts for all of them."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from diffusion_serving.backends.rayserve.metrics_aggregator import (
    MetricsAggregator,
    ReplicaMetrics,
)
from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine import Result, State
from diffusion_serving.engine.client import EngineClient, ModelInfo
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.observability import logs

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

log = logging.getLogger("diffusion_serving")

_PEER_SECONDS = 2.0
"""A replica that doesn't answer another by then is shown as it was at the last scrape."""
_PEER_POLL_SECONDS = 1.0


class ReplicaSetClient:
    """The client that reports the state and metrics of all replicas, and runs requests alone.

    The set is ready when as many replicas are as the service has devices. A request runs on this
    replica's own device: Serve has chosen it.
    """

    def __init__(self, own: EngineClient, config: ServingConfig) -> None:
        self._own = own
        # In a cluster workers come and go, so one is enough.
        self._needed = config.devices if config.rayserve.topology == "pods" else 1
        self._ready = 0
        self._aggregator = MetricsAggregator()
        self._peers: DeploymentHandle[Any] | None = None
        self._polling = asyncio.get_running_loop().create_task(self._poll())

    @property
    def state(self) -> State:
        if self._own.state is State.READY and self._ready < self._needed:
            return State.LOADING
        return self._own.state

    @property
    def alive(self) -> bool:
        return self._own.alive

    @property
    def model(self) -> ModelInfo | None:
        return self._own.model

    async def run(self, request: ImageRequest, on_step: OnStep | None = None) -> Result:
        return await self._own.run(request, on_step)

    async def metrics(self) -> Sequence[Metric]:
        me = serve.get_replica_context().replica_tag
        own, (tagged, complete) = await asyncio.gather(self._own.metrics(), self._ask("families"))
        answers: dict[str, Sequence[Metric]] = dict(tagged)
        # Where this replica is missing, Serve does not know yet which replicas there are.
        complete &= answers.pop(me, None) is not None
        known = [me, *answers, *self._aggregator.settled]
        remembered, all_remembered = await self._ask("remembered", known)
        self._aggregator.take(answers, remembered, complete=complete and all_remembered)
        return [*own, *self._aggregator.families]

    def remembered(self, besides: Collection[str]) -> ReplicaMetrics:
        return self._aggregator.besides(besides)

    async def _poll(self) -> None:
        while True:
            states, _ = await self._ask("state")
            self._ready = states.count(State.READY)
            await asyncio.sleep(_PEER_POLL_SECONDS)

    async def _ask(self, method: str, *arguments: Any) -> tuple[list[Any], bool]:
        """Returns each replica's answer, and whether all could be reached."""
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
        received = [answer for answer in answers if not isinstance(answer, BaseException)]
        return received, len(received) == len(answers)
