"""Reconciles of a DiffusionService, from its spec to its children."""

import itertools
from typing import Any

import pytest

from diffusion_operator.diffusionservice.reconciler import ServiceReconciler
from diffusion_operator.kube.applier import Applier
from diffusion_operator.kube.objects import Key, key_of
from diffusion_operator.kube.timestamps import utc_now
from diffusion_operator.settings import Settings
from watched_cluster import WatchedCluster

Object = dict[str, Any]
HPA = Key("HorizontalPodAutoscaler", "shop", "demo")
LOAD: Object = {"users": {"stages": [{"users": 1, "duration": "5s"}]}, "slo": {"p95": "8s"}}
OLD_METRIC: Object = {
    "type": "Pods",
    "pods": {
        "metric": {"name": "diffusion_queue_length"},
        "target": {"type": "AverageValue", "averageValue": "4"},
    },
}


class Operator:
    """A release of the operator, with its own pods and its way to roll them out."""

    def __init__(
        self, cluster: WatchedCluster, settings: Settings, release: int, **rollouts: Any
    ) -> None:
        images = {**settings.images.model_dump(), "backends": {"fastapi": f"reg/fastapi:{release}"}}
        own = settings.model_dump() | {"images": images, "rollouts": rollouts}
        ticks = itertools.count(step=100)
        applier = Applier(cluster, cluster.cache, clock=lambda: next(ticks))  # type: ignore[arg-type] # a stand-in by shape
        read = Settings.model_validate(own)
        self.reconcile = ServiceReconciler(cluster, cluster.cache, applier, read, utc_now)  # type: ignore[arg-type] # a stand-in by shape
        self._cluster = cluster

    async def applies(self, service: Object) -> None:
        """Applies the service, which the kubelet then serves."""
        status = self._cluster.objects.get(key_of(service), {}).get("status", {})
        self._cluster.put({**service, "status": status})
        await self.reconcile(key_of(service))
        self._cluster.serve(service["metadata"]["name"])
        await self.reconcile(key_of(service))


def reason_of(cluster: WatchedCluster, service: Object, kind: str) -> str:
    conditions = cluster.objects[key_of(service)]["status"]["conditions"]
    return next(str(each["reason"]) for each in conditions if each["type"] == kind)


def scaled(service: Object, **bounds: int) -> Object:
    autoscaling = {"provider": "HPA", "minReplicas": 1, "maxReplicas": 3, **bounds}
    return {**service, "spec": {**service["spec"], "autoscaling": autoscaling}}


async def test_new_bounds_take_effect_while_an_upgrade_is_pending(
    service: Object, settings: Settings
) -> None:
    cluster = WatchedCluster()
    await Operator(cluster, settings, release=1).applies(scaled(service))
    live = cluster.objects[HPA]
    cluster.put({**live, "spec": {**live["spec"], "metrics": [OLD_METRIC]}})
    newer = Operator(cluster, settings, release=2, upgrade="OnNextChange")
    await newer.applies(scaled(service, minReplicas=2, maxReplicas=5))
    assert reason_of(cluster, service, "Progressing") == "UpgradePending"
    kept = cluster.objects[HPA]["spec"]
    assert (kept["minReplicas"], kept["maxReplicas"]) == (2, 5)
    assert kept["metrics"] == [OLD_METRIC], "the pods of the older release lack the newer metric"


async def test_a_new_target_of_the_same_metric_takes_effect_while_an_upgrade_is_pending(
    service: Object, settings: Settings
) -> None:
    cluster = WatchedCluster()
    await Operator(cluster, settings, release=1).applies(scaled(service))
    (before,) = cluster.objects[HPA]["spec"]["metrics"]
    newer = Operator(cluster, settings, release=2, upgrade="OnNextChange")
    await newer.applies(scaled(service, targetQueuedPerReplica=9))
    assert reason_of(cluster, service, "Progressing") == "UpgradePending"
    (after,) = cluster.objects[HPA]["spec"]["metrics"]
    assert after["pods"]["metric"] == before["pods"]["metric"]
    assert after["pods"]["target"] != before["pods"]["target"]


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [
        ({"rollout": {"gate": {"loadTestTemplate": LOAD}}}, True),
        ({"image": "reg/fastapi:1"}, True),
        ({}, False),
    ],
    ids=["gate", "own image", "all pods are of this release"],
)
async def test_an_autoscaler_keeps_its_metric_while_pods_may_lack_the_newer_one(
    service: Object, settings: Settings, change: Object, is_kept: bool
) -> None:
    cluster = WatchedCluster()
    await Operator(cluster, settings, release=1).applies(scaled(service))
    live = cluster.objects[HPA]
    cluster.put({**live, "spec": {**live["spec"], "metrics": [OLD_METRIC]}})
    newer = Operator(cluster, settings, release=2)
    await newer.applies(scaled({**service, "spec": {**service["spec"], **change}}))
    assert (cluster.objects[HPA]["spec"]["metrics"] == [OLD_METRIC]) == is_kept


def unmeasured() -> Object:
    """Status of a gate's LoadTest that has lost its runner."""
    conditions = [
        {"type": kind, "status": status, "reason": "RunnerLost", "lastTransitionTime": utc_now()}
        for kind, status in (("Valid", "False"), ("SLOMet", "Unknown"))
    ]
    return {"run": "r1", "state": "Failed", "conditions": conditions}


@pytest.mark.parametrize("status", [unmeasured(), {"state": "Waiting"}, {"state": "Suspended"}])
async def test_a_gate_that_can_give_no_verdict_holds_no_upgrade_turn(
    service: Object, settings: Settings, status: Object
) -> None:
    gate = {"gate": {"loadTestTemplate": LOAD}}
    gated = {**service, "spec": {**service["spec"], "rollout": gate}}
    other = {**service, "metadata": {**service["metadata"], "name": "other", "uid": "u-9"}}
    cluster = WatchedCluster()
    older = Operator(cluster, settings, release=1)
    newer = Operator(cluster, settings, release=2, maxConcurrentUpgrades=1)
    for each in (gated, other):
        await older.applies(each)
    await newer.reconcile(key_of(gated))
    cluster.serve("demo-candidate")
    await newer.reconcile(key_of(gated))
    (test,) = (each for key, each in cluster.objects.items() if key.kind == "LoadTest")
    cluster.put({**test, "status": {"state": "Running"}})
    await newer.reconcile(key_of(gated))
    await newer.reconcile(key_of(other))
    assert reason_of(cluster, other, "Progressing") == "UpgradePending"
    cluster.put({**test, "status": status})
    await newer.reconcile(key_of(gated))
    await newer.reconcile(key_of(other))
    assert reason_of(cluster, gated, "Progressing") == "Gating"
    assert reason_of(cluster, other, "Progressing") == "RollingOut"
