"""The number of replicas, where the spec leaves it to what waits in their queues."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.build.autoscaler import pod_autoscaler, scaled_object
from diffusion_operator.build.deployment import scaled
from diffusion_operator.cluster import Cluster
from diffusion_operator.metrics_of_pods import read_metrics
from diffusion_operator.objects import Key, Object, key_of
from diffusion_operator.observe import is_ready
from diffusion_operator.reconcile.offered import Offered
from diffusion_operator.scaling.own import next_replicas, queued, wanted_replicas, within
from diffusion_operator.scaling.scaler import Scaler, is_scaled_by, scaler_of

LOOK_SECONDS = 10.0


class Scaling:
    """Leaves the replicas to KEDA or an HPA where there is one, and else decides itself."""

    def __init__(
        self, cluster: Cluster, offered: Offered, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._offered = offered
        self._clock = clock
        self._calm_since: dict[Key, float] = {}
        self._looked: dict[Key, tuple[float, int]] = {}

    async def scaler(self, spec: DiffusionServiceSpec) -> Scaler | None:
        """Who decides. Raises ``ApiError``."""
        if spec.autoscaling is None:
            return None
        return scaler_of(spec, await self._offered.groups())

    async def replicated(
        self,
        built: Object,
        live: Object | None,
        scaling: Autoscaling,
        scaler: Scaler,
        pods: list[Object],
    ) -> Object:
        """The Deployment with the replicas that it is to have, or with none said."""
        asked = live["spec"].get("replicas") if live is not None else None
        if live is None or asked is None:
            return scaled(built, within(0, scaling))
        if scaler == "own":
            return scaled(built, await self._own(key_of(built), int(asked), scaling, pods))
        if not is_scaled_by(live, scaler):
            # A number that no one owns any more would go back to 1; one of 0, as a service that was
            # suspended has, Kubernetes' own autoscaler would leave at that for good.
            await self._cluster.hand_over_replicas(key_of(built), within(int(asked), scaling))
        return scaled(built, None, scaler)

    async def _own(self, key: Key, current: int, scaling: Autoscaling, pods: list[Object]) -> int:
        """The operator's own number of replicas, looked at anew every few seconds."""
        now = self._clock()
        at, wanted = self._looked.get(key, (None, 0))
        if at is None or now - at >= LOOK_SECONDS:
            ready = [pod for pod in pods if is_ready(pod)]
            texts = await asyncio.gather(*(read_metrics(pod) for pod in ready))
            waiting = [queued(text) if text is not None else None for text in texts]
            found = wanted_replicas(waiting, scaling)
            # Pods that don't tell may be the busiest ones.
            unsure = found is None or None in waiting
            wanted = max(found or 0, current) if unsure else found or 0
            self._looked[key] = (now, wanted)
        if wanted >= current:
            self._calm_since.pop(key, None)
            return within(wanted, scaling)
        since = self._calm_since.setdefault(key, now)
        step = next_replicas(current, wanted, now - since)
        if step < current:
            self._calm_since[key] = now
        return within(step, scaling)

    def forget(self, key: Key) -> None:
        """Drop what is kept for a Deployment that is gone."""
        self._calm_since.pop(key, None)
        self._looked.pop(key, None)


def scalers(
    owner: Mapping[str, Any], spec: DiffusionServiceSpec, scaler: Scaler | None
) -> list[Object]:
    """What has to be made for the one that decides."""
    if spec.autoscaling is None:
        return []
    if scaler == "keda":
        return [scaled_object(owner, spec.autoscaling)]
    return [pod_autoscaler(owner, spec.autoscaling)] if scaler == "hpa" else []
