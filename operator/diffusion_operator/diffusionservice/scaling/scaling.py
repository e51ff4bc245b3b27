"""Scaling: the number of replicas of a service with autoscaling."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.diffusionservice.scaling.pod_metrics import read_metrics
from diffusion_operator.diffusionservice.scaling.provider import (
    KEDA_GROUP,
    Scaler,
    is_scaled_by,
    scaler_of,
)
from diffusion_operator.diffusionservice.scaling.replica_calculator import (
    computed_replicas,
    load_of,
    next_replicas,
    within,
)
from diffusion_operator.diffusionservice.scaling.scaling_active import (
    autoscaler_verdict,
    own_verdict,
)
from diffusion_operator.diffusionservice.specs.deployment import scaled
from diffusion_operator.diffusionservice.specs.horizontal_pod_autoscaler import (
    horizontal_pod_autoscaler,
)
from diffusion_operator.diffusionservice.specs.replica_load import LOAD_METRIC
from diffusion_operator.diffusionservice.specs.scaled_object import scaled_object
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import Cluster
from diffusion_operator.kube.conditions import Verdict
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.metadata import changed
from diffusion_operator.kube.objects import Key, Object, is_owned, key_of
from diffusion_operator.kube.pod_status import is_ready
from diffusion_operator.kube.problems import SpecError

_KINDS: Mapping[str, Scaler] = {"ScaledObject": "keda", "HorizontalPodAutoscaler": "hpa"}
# Field of each kind that says by what it scales.
_METRICS = {"ScaledObject": "triggers", "HorizontalPodAutoscaler": "metrics"}
LOOK_SECONDS = 10.0
# A pod answers within milliseconds.
ANSWER_SECONDS = 0.2
_NO_KEDA = (
    "autoscaling.provider: KEDA needs KEDA 2.20 or newer in the cluster: install KEDA, or use "
    "provider: Operator"
)


class Scaling:
    """Scaling by KEDA or an HPA where the cluster has one, else by the operator."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        discovery: ApiDiscovery,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._discovery = discovery
        self._clock = clock
        self._calm_since: dict[Key, float] = {}
        self._looked: dict[Key, tuple[float, int]] = {}
        self._looks: dict[Key, asyncio.Task[list[float | None]]] = {}
        self._blind: set[Key] = set()

    async def scaler(self, owner: Object, spec: DiffusionServiceSpec) -> Scaler | None:
        """Autoscaling provider for the spec.

        Raises:
            SpecError: The spec chooses KEDA, which is not installed.
            ApiError: The API server refused.
        """
        groups = await self._discovery.groups()
        scaler = scaler_of(spec, groups, self._existing(owner))
        if scaler != "keda" or KEDA_GROUP in groups:
            return scaler
        if await self._cluster.knows_kind_of(_key("ScaledObject", owner)):
            return scaler
        if spec.autoscaling is not None and spec.autoscaling.provider == "KEDA":
            raise SpecError("KEDAMissing", _NO_KEDA)
        return scaler_of(spec, groups)

    def _existing(self, owner: Object) -> Scaler | None:
        """Provider whose autoscaler the service has."""
        for kind, scaler in _KINDS.items():
            observed = self._cache.get(_key(kind, owner))
            if observed is not None and is_owned(observed, owner):
                return scaler
        return None

    def verdict(self, owner: Object, scaler: Scaler) -> Verdict:
        """ScalingActive condition: whether the provider gets what it scales by."""
        if scaler == "own":
            blind = _key("Deployment", owner) in self._blind
            return own_verdict(blind=blind)
        kind = "ScaledObject" if scaler == "keda" else "HorizontalPodAutoscaler"
        return autoscaler_verdict(self._cache.get(_key(kind, owner)), kind)

    async def replicated(
        self,
        built: Object,
        observed: Object | None,
        spec: DiffusionServiceSpec,
        scaler: Scaler,
        pods: list[Object],
    ) -> Object:
        """Copy of the Deployment with its desired replicas, or without any for an autoscaler."""
        scaling = spec.autoscaling
        if scaling is None:
            return built
        current = observed["spec"].get("replicas") if observed is not None else None
        if observed is None or current is None:
            return scaled(built, within(0, scaling))
        if scaler == "own":
            return scaled(built, await self._own(key_of(built), int(current), spec, scaling, pods))
        if not is_scaled_by(observed, scaler):
            # A field without an owner would fall back to 1, and an HPA would leave the 0 of a
            # suspended service as it is.
            await self._cluster.hand_over_replicas(key_of(built), within(int(current), scaling))
        return scaled(built, None, scaler)

    async def _own(
        self,
        key: Key,
        current: int,
        spec: DiffusionServiceSpec,
        scaling: Autoscaling,
        pods: list[Object],
    ) -> int:
        """Replicas by the operator's own calculation, renewed every few seconds."""
        now = self._clock()
        loads = await self._loads(key, pods, now)
        _, desired = self._looked.get(key, (now, current))
        if loads is not None:
            computed = computed_replicas(loads, current, spec, scaling)
            # Pods without metrics may be the busiest ones.
            unsure = computed is None or None in loads
            desired = max(computed or 0, current) if unsure else computed or 0
            self._looked[key] = (now, desired)
            blind = bool(loads) and computed is None
            (self._blind.add if blind else self._blind.discard)(key)
        if desired >= current:
            self._calm_since.pop(key, None)
            return within(desired, scaling)
        since = self._calm_since.setdefault(key, now)
        step = next_replicas(current, desired, now - since)
        if step < current:
            self._calm_since[key] = now
        return within(step, scaling)

    async def _loads(self, key: Key, pods: list[Object], now: float) -> list[float | None] | None:
        """Loads of the ready pods; ``None`` until the next look, or while this one lasts.

        Pods that don't answer hold up their own look, and no reconcile of another service.
        """
        look = self._looks.get(key)
        if look is None:
            at, _ = self._looked.get(key, (None, 0))
            if at is not None and now - at < LOOK_SECONDS:
                return None
            look = asyncio.ensure_future(_look([pod for pod in pods if is_ready(pod)]))
            self._looks[key] = look
        await asyncio.wait({look}, timeout=ANSWER_SECONDS)
        if not look.done():
            return None
        del self._looks[key]
        return look.result()

    def forget(self, key: Key) -> None:
        """Drop the state of a deleted Deployment."""
        self._calm_since.pop(key, None)
        self._looked.pop(key, None)
        self._blind.discard(key)
        look = self._looks.pop(key, None)
        if look is not None:
            look.cancel()


async def _look(pods: list[Object]) -> list[float | None]:
    texts = await asyncio.gather(*(read_metrics(pod) for pod in pods))
    return [load_of(text) if text is not None else None for text in texts]


def _key(kind: str, owner: Object) -> Key:
    return Key(kind, owner["metadata"]["namespace"], owner["metadata"]["name"])


def outgoing(owner: Object, autoscalers: Sequence[Object]) -> list[Key]:
    """Autoscaler objects of other providers, which go before a successor exists.

    KEDA's webhook refuses a workload that an HPA scales, and two HPAs would both stand still.
    """
    staying = {each["kind"] for each in autoscalers}
    return [_key(kind, owner) for kind in _KINDS if staying and kind not in staying]


def scalers(owner: Mapping[str, Any], spec: DiffusionServiceSpec, scaler: Scaler) -> list[Object]:
    """Autoscaler objects of the provider."""
    if spec.autoscaling is None:
        return []
    if scaler == "keda":
        return [scaled_object(owner, spec, spec.autoscaling)]
    return [horizontal_pod_autoscaler(owner, spec, spec.autoscaling)] if scaler == "hpa" else []


def with_live_metric(built: Object, observed: Mapping[str, Any] | None) -> Object:
    """Copy of the autoscaler with the live one's metric, where that has another name.

    The pods of an older release may lack the metric of a newer autoscaler.
    """
    live = (observed or {}).get("spec", {}).get(_METRICS[built["kind"]])
    if not live or LOAD_METRIC in map(_metric_name, live):
        return built
    return changed(built, spec={**built["spec"], _METRICS[built["kind"]]: live})


def _metric_name(metric: Mapping[str, Any]) -> str | None:
    """Name of an HPA's metric on pods, or of a ScaledObject's in their text."""
    name: str | None = (metric.get("pods") or {}).get("metric", {}).get("name")
    return name or (metric.get("metadata") or {}).get("valueLocation")
