"""Keys that others add to children where an addition takes something away."""

import copy
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.network_policy import network_policy
from diffusion_operator.diffusionservice.specs.pod_disruption_budget import disruption_budget
from diffusion_operator.diffusionservice.specs.service import service as build_service
from diffusion_operator.kube.applier import Applier
from diffusion_operator.kube.objects import key_of
from diffusion_operator.settings import NetworkPolicySettings, Settings
from recording_cluster import RecordingCluster, cache_of

Object = dict[str, Any]


def with_foreign_keys(child: Object) -> tuple[Object, list[str]]:
    """The live child with keys by hand, and the JSON pointers of those keys."""
    live = copy.deepcopy(child)
    live["metadata"] |= {"resourceVersion": "5", "uid": "c-1"}
    spec = live["spec"]
    if child["kind"] == "Service":
        spec["selector"]["example.com/version"] = "blue"
        return live, ["/spec/selector/example.com~1version"]
    if child["kind"] == "Deployment":
        spec["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
        return live, ["/spec/template/spec/nodeSelector/disk"]
    selector = spec["podSelector" if child["kind"] == "NetworkPolicy" else "selector"]
    selector["matchLabels"]["app"] = "none"
    selector["matchExpressions"] = [{"key": "a", "operator": "Exists"}]
    place = "podSelector" if child["kind"] == "NetworkPolicy" else "selector"
    return live, [f"/spec/{place}/matchLabels/app", f"/spec/{place}/matchExpressions"]


@pytest.fixture(params=["Service", "NetworkPolicy", "PodDisruptionBudget", "Deployment"])
def narrowed(request: pytest.FixtureRequest, service: Object, settings: Settings) -> Object:
    spec = DiffusionServiceSpec.model_validate(service["spec"])
    children = {
        "Service": lambda: build_service(service, spec),
        "NetworkPolicy": lambda: network_policy(service, NetworkPolicySettings()),
        "PodDisruptionBudget": lambda: disruption_budget(service),
        "Deployment": lambda: deployment(service, spec, settings),
    }
    return children[request.param]()


async def test_a_key_by_hand_that_makes_a_child_choose_fewer_is_taken_back(
    service: Object, narrowed: Object
) -> None:
    live, pointers = with_foreign_keys(narrowed)
    cluster, cache = RecordingCluster(live), cache_of(narrowed["kind"])
    cache.record_write(live)
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    for _ in range(2):
        await applier.apply(service, [narrowed])
        cache.record_write({**cluster.objects[key_of(live)]})
    assert cluster.patched == [pointers]
    assert cluster.applied == []


async def test_a_key_that_comes_back_with_each_write_is_taken_back_only_once(
    service: Object, narrowed: Object, caplog: pytest.LogCaptureFixture
) -> None:
    live, pointers = with_foreign_keys(narrowed)
    cluster, cache = RecordingCluster(live), cache_of(narrowed["kind"])
    cluster.stubborn = True
    cache.record_write(live)
    applier = Applier(cluster, cache)  # type: ignore[arg-type] # a stand-in by shape
    for _ in range(3):
        await applier.apply(service, [narrowed])
    assert cluster.patched == [pointers]
    assert "again after each write" in caplog.text
