"""Refusals that a retry may end: the status tells of them once they last."""

import itertools
import json
from typing import Any

import pytest

from diffusion_operator.comparison.reconciler import ComparisonReconciler
from diffusion_operator.diffusionservice.reconciler import ServiceReconciler
from diffusion_operator.kube.applier import Applier
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError
from diffusion_operator.kube.objects import Key, key_of
from diffusion_operator.kube.store import ChildStores
from diffusion_operator.loadtest.reconciler import TestReconciler
from diffusion_operator.settings import Settings
from played_study import comparison
from recording_cluster import RecordingCluster

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"
AWAY = ApiError(500, "Error", json.dumps({"message": 'failed calling webhook "policy"'}), None)
TRIES = 8


class WebhookAway(RecordingCluster):
    """A cluster whose admission webhook for Deployments, Jobs and services doesn't answer."""

    def __init__(self, owner: Object) -> None:
        super().__init__()
        self.away = True
        self._owner = owner

    async def apply_status(self, obj: Object) -> Object:
        answer = await super().apply_status(obj)
        metadata = {**self._owner["metadata"], "resourceVersion": "100"}
        return {**self._owner, "status": answer["status"], "metadata": metadata}

    async def create(self, obj: Object) -> Object | None:
        if self.away and obj["kind"] in {"Deployment", "DiffusionService"}:
            raise AWAY
        return await super().create(obj)

    async def apply(self, obj: Object) -> Object:
        if self.away and obj["kind"] in {"Job", "DiffusionService"}:
            raise AWAY
        obj["metadata"] |= {"generation": 1, "creationTimestamp": NOW}
        return await super().apply(obj)

    async def groups(self) -> frozenset[str]:
        return frozenset()


def cache_of(*owners: Object) -> Cache:
    kinds: dict[str, Any] = {"DiffusionService": {}, "LoadTest": {}, "Comparison": {}}
    for owner in owners:
        key = key_of(owner)
        kinds[key.kind][key.namespace, key.name] = [owner]
    stores = ChildStores()
    return Cache({**stores.by_name, **kinds}, pods={}, jobs={}, tests={}, compared={}, revisions={})


async def reasons_after(
    reconciler: Any, cluster: WebhookAway, key: Key, kind: str
) -> list[tuple[str, str]]:
    """Status and reason of the condition in each written status, over failing reconciles."""
    for _ in range(TRIES):
        with pytest.raises(ApiError):
            await reconciler(key)
    written = [
        {each["type"]: each for each in status["status"]["conditions"]}[kind]
        for status in cluster.statuses
    ]
    assert all("failed calling webhook" in each["message"] for each in written)
    return [(each["status"], each["reason"]) for each in written]


async def test_a_service_that_a_webhook_stops_says_so_after_a_while(
    service: Object, settings: Settings
) -> None:
    cluster, cache = WebhookAway(service), cache_of(service)
    ticks = itertools.count(step=100)
    applier = Applier(cluster, cache, clock=lambda: next(ticks))  # type: ignore[arg-type] # a stand-in by shape
    reconciler = ServiceReconciler(cluster, cache, applier, settings, lambda: NOW)  # type: ignore[arg-type] # a stand-in by shape
    reasons = await reasons_after(reconciler, cluster, key_of(service), "Ready")
    assert reasons
    assert len(reasons) < TRIES - 3
    assert set(reasons) == {("Unknown", "Blocked")}
    cluster.away = False
    await reconciler(key_of(service))
    ready = {each["type"]: each for each in cluster.statuses[-1]["status"]["conditions"]}["Ready"]
    assert ready["reason"] == "RollingOut"


async def test_a_load_test_that_a_webhook_stops_says_so_and_lets_others_go_first(
    loadtest: Object, settings: Settings
) -> None:
    loadtest = {**loadtest, "spec": {**loadtest["spec"], "targetRef": None, "url": "http://x.y.z"}}
    cluster, cache = WebhookAway(loadtest), cache_of(loadtest)
    ticks = itertools.count(step=100)
    applier = Applier(cluster, cache, clock=lambda: next(ticks))  # type: ignore[arg-type] # a stand-in by shape
    reconciler = TestReconciler(cluster, cache, applier, settings, lambda: NOW)  # type: ignore[arg-type] # a stand-in by shape
    reasons = await reasons_after(reconciler, cluster, key_of(loadtest), "Complete")
    assert reasons
    assert set(reasons) == {("False", "Blocked")}
    assert not reconciler._admission.holds(key_of(loadtest), loadtest)


def study(**status: Any) -> Object:
    meta = {"name": "study", "namespace": "shop", "uid": "u", "generation": 1}
    return {**comparison(), "metadata": {**meta, "resourceVersion": "1"}, "status": status}


def comparison_reconciler(
    owner: Object, settings: Settings, *others: Object
) -> tuple[ComparisonReconciler, WebhookAway]:
    cluster, cache = WebhookAway(owner), cache_of(owner, *others)
    ticks = itertools.count(step=100)
    applier = Applier(cluster, cache, clock=lambda: next(ticks))  # type: ignore[arg-type] # a stand-in by shape
    return ComparisonReconciler(cache, applier, settings, lambda: NOW), cluster


async def test_a_comparison_that_a_webhook_stops_says_so_and_lets_others_go_first(
    settings: Settings,
) -> None:
    reconciler, cluster = comparison_reconciler(study(), settings)
    reasons = await reasons_after(reconciler, cluster, key_of(study()), "Complete")
    assert reasons
    assert len(reasons) < TRIES - 3
    assert set(reasons) == {("False", "Blocked")}
    assert {status["status"]["state"] for status in cluster.statuses} == {"Waiting"}
    assert not reconciler._lock.holds(key_of(study()), study())
    cluster.away = False
    await reconciler(key_of(study()))
    status = cluster.statuses[-1]["status"]
    assert status["conditions"][0]["reason"] == status["state"] == "Running"


async def test_a_comparison_that_is_stopped_during_a_run_keeps_the_run(settings: Settings) -> None:
    reconciler, cluster = comparison_reconciler(study(), settings)
    cluster.away = False
    await reconciler(key_of(study()))
    begun = study(**cluster.statuses[-1]["status"])
    (service,) = cluster.applied
    # Another spec than the one of the step, which the webhook keeps from being applied.
    changed = {**service, "apiVersion": begun["apiVersion"], "spec": {}}
    changed["metadata"] |= {"uid": "s", "resourceVersion": "1"}
    reconciler, cluster = comparison_reconciler(begun, settings, changed)
    reasons = await reasons_after(reconciler, cluster, key_of(begun), "Complete")
    assert set(reasons) == {("False", "Blocked")}
    status = cluster.statuses[-1]["status"]
    assert status["state"] == "Running"
    assert status["runs"] == begun["status"]["runs"]
