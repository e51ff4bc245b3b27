"""Scaling: the number of replicas of a service with autoscaling."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.diffusionservice.scaling.pod_metrics import read_metrics
from diffusion_operator.diffusionservice.scaling.provider import Scaler, is_scaled_by, scaler_of
from diffusion_operator.diffusionservice.scaling.replica_calculator import (
    computed_replicas,
    next_replicas,
    queued,
    within,
)
from diffusion_operator.diffusionservice.specs.deployment import scaled
from diffusion_operator.diffusionservice.specs.horizontal_pod_autoscaler import (
    horizontal_pod_autoscaler,
)
from diffusion_operator.diffusionservice.specs.scaled_object import scaled_object
from diffusion_operator.kube.client import Cluster
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.objects import Key, Object, key_of
from diffusion_operator.kube.pod_status import is_ready

LOOK_SECONDS = 10.0


class Scaling:
    """Scaling by KEDA or an HPA where the cluster has one, else by the operator."""

    def __init__(
        self, cluster: Cluster, discovery: ApiDiscovery, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._discovery = discovery
        self._clock = clock
        self._calm_since: dict[Key, float] = {}
        self._looked: dict[Key, tuple[float, int]] = {}

    async def scaler(self, spec: DiffusionServiceSpec) -> Scaler | None:
        """Autoscaling provider for the spec.

        Raises:
            ApiError: The API server refused.
        """
        if spec.autoscaling is None:
            return None
        return scaler_of(spec, await self._discovery.groups())

    async def replicated(
        self,
        built: Object,
        observed: Object | None,
        scaling: Autoscaling,
        scaler: Scaler,
        pods: list[Object],
    ) -> Object:
        """Copy of the Deployment with its desired replicas, or without any for an autoscaler."""
        current = observed["spec"].get("replicas") if observed is not None else None
        if observed is None or current is None:
            return scaled(built, within(0, scaling))
        if scaler == "own":
            return scaled(built, await self._own(key_of(built), int(current), scaling, pods))
        if not is_scaled_by(observed, scaler):
            # A field without an owner would fall back to 1, and an HPA would leave the 0 of a
            # suspended service as it is.
            await self._cluster.hand_over_replicas(key_of(built), within(int(current), scaling))
        return scaled(built, None, scaler)

    async def _own(self, key: Key, current: int, scaling: Autoscaling, pods: list[Object]) -> int:
        """Replicas by the operator's own calculation, renewed every few seconds."""
        now = self._clock()
        at, desired = self._looked.get(key, (None, 0))
        if at is None or now - at >= LOOK_SECONDS:
            ready = [pod for pod in pods if is_ready(pod)]
            texts = await asyncio.gather(*(read_metrics(pod) for pod in ready))
            waiting = [queued(text) if text is not None else None for text in texts]
            computed = computed_replicas(waiting, scaling)
            # Pods without metrics may be the busiest ones.
            unsure = computed is None or None in waiting
            desired = max(computed or 0, current) if unsure else computed or 0
            self._looked[key] = (now, desired)
        if desired >= current:
            self._calm_since.pop(key, None)
            return within(desired, scaling)
        since = self._calm_since.setdefault(key, now)
        step = next_replicas(current, desired, now - since)
        if step < current:
            self._calm_since[key] = now
        return within(step, scaling)

    def forget(self, key: Key) -> None:
        """Drop the state of a deleted Deployment."""
        self._calm_since.pop(key, None)
        self._looked.pop(key, None)


def scalers(
    owner: Mapping[str, Any], spec: DiffusionServiceSpec, scaler: Scaler | None
) -> list[Object]:
    """Autoscaler objects of the provider."""
    if spec.autoscaling is None:
        return []
    if scaler == "keda":
        return [scaled_object(owner, spec.autoscaling)]
    return [horizontal_pod_autoscaler(owner, spec.autoscaling)] if scaler == "hpa" else []
