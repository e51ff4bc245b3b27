"""The number of replicas, and the autoscaler that decides it."""

from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.diffusionservice.scaling import scaling as module
from diffusion_operator.diffusionservice.scaling.provider import desired_replicas, scaler_of
from diffusion_operator.diffusionservice.scaling.replica_calculator import (
    CALM_SECONDS,
    computed_replicas,
    next_replicas,
    queued,
)
from diffusion_operator.diffusionservice.scaling.scaling import Scaling
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.horizontal_pod_autoscaler import (
    horizontal_pod_autoscaler,
)
from diffusion_operator.diffusionservice.specs.scaled_object import scaled_object
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.objects import Key
from diffusion_operator.settings import Settings

Object = dict[str, Any]
ONE_TO_FIVE = Autoscaling(min_replicas=1, max_replicas=5, target_queued_per_replica=4)
EXPOSITION = """# HELP diffusion_queue_length Requests that wait for the engine.
# TYPE diffusion_queue_length gauge
diffusion_queue_length 7.0
diffusion_queue_length_of_something_else 100.0
"""


def spec_of(service: Object, **more: Any) -> DiffusionServiceSpec:
    return DiffusionServiceSpec.model_validate({**service["spec"], **more})


@pytest.mark.parametrize(
    ("groups", "scaler"),
    [({"keda.sh", "custom.metrics.k8s.io"}, "keda"), ({"custom.metrics.k8s.io"}, "hpa"),
     ({"apps"}, "own")],
)  # fmt: skip
def test_the_best_autoscaler_that_the_cluster_has_decides(
    service: Object, groups: set[str], scaler: str
) -> None:
    spec = spec_of(service, autoscaling={"maxReplicas": 5})
    assert scaler_of(spec, groups) == scaler
    assert scaler_of(spec_of(service), groups) is None
    assert scaler_of(spec.model_copy(update={"suspend": True}), groups) is None


def test_the_queue_length_is_read_from_the_metrics() -> None:
    assert queued(EXPOSITION) == 7
    assert queued('diffusion_queue_length{device="0"} 1\ndiffusion_queue_length{device="1"} 2') == 3
    assert queued("up 1") is None


@pytest.mark.parametrize(
    ("waiting", "replicas"),
    [([0.0], 1), ([4.0], 1), ([5.0], 2), ([9.0, 8.0], 5), ([99.0], 5), ([None], None), ([], None)],
)
def test_each_replica_gets_its_share_within_the_bounds(
    waiting: list[float | None], replicas: int | None
) -> None:
    assert computed_replicas(waiting, ONE_TO_FIVE) == replicas


def test_replicas_go_up_at_once_and_down_by_one_after_a_time_of_calm() -> None:
    assert next_replicas(1, 4, 0) == 4
    assert next_replicas(4, 1, CALM_SECONDS - 1) == 4
    assert next_replicas(4, 1, CALM_SECONDS) == 3


def test_an_autoscaled_service_keeps_the_deployments_number_and_a_suspended_one_has_none(
    service: Object,
) -> None:
    scaled = spec_of(service, autoscaling={"minReplicas": 2, "maxReplicas": 5})
    assert desired_replicas(scaled, 4) == 4
    assert desired_replicas(scaled, 0) == 2
    assert desired_replicas(scaled, None) == 2
    assert desired_replicas(scaled.model_copy(update={"suspend": True}), None) == 0
    assert desired_replicas(spec_of(service), 4) == 2


def test_kedas_object_adds_up_the_queues_of_all_pods(service: Object) -> None:
    made = scaled_object(service, ONE_TO_FIVE)["spec"]
    (trigger,) = made["triggers"]
    assert trigger["metadata"]["url"] == "http://demo.shop.svc:8000/metrics"
    assert trigger["metadata"]["aggregationType"] == "sum"
    assert trigger["metadata"]["targetValue"] == "4"
    assert (made["minReplicaCount"], made["maxReplicaCount"]) == (1, 5)


def test_an_hpa_goes_by_the_average_queue(service: Object) -> None:
    made = horizontal_pod_autoscaler(service, ONE_TO_FIVE)["spec"]
    (metric,) = made["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "4"}
    assert made["scaleTargetRef"]["kind"] == "Deployment"


class Scene:
    """Two ready pods, their metrics, and a clock."""

    def __init__(self, built: Object) -> None:
        self.built = built
        self.now = 0.0
        self.handed_over: list[tuple[str, int]] = []
        discovery = ApiDiscovery(self, lambda: self.now)  # type: ignore[arg-type] # a stand-in by shape
        self.scaling = Scaling(self, discovery, clock=lambda: self.now)  # type: ignore[arg-type] # same
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.pods = [{"metadata": {"name": name}, "status": ready} for name in "ab"]

    async def hand_over_replicas(self, key: Key, replicas: int) -> None:
        self.handed_over.append((key.name, replicas))

    async def replicas(self, current: int, scaler: Any = "own") -> int | None:
        live = {**self.built, "spec": {**self.built["spec"], "replicas": current}}
        manifest = await self.scaling.replicated(self.built, live, ONE_TO_FIVE, scaler, self.pods)
        replicas: int | None = manifest["spec"].get("replicas")
        return replicas


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(deployment(service, spec_of(service), settings))


def set_metrics(monkeypatch: pytest.MonkeyPatch, *texts: str | None) -> None:
    texts_by_pod = dict(zip("ab", texts, strict=True))

    async def read(pod: Object) -> str | None:
        return texts_by_pod[pod["metadata"]["name"]]

    monkeypatch.setattr(module, "read_metrics", read)


async def test_the_operators_own_scaler_removes_a_replica_only_after_a_time_of_calm(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_metrics(monkeypatch, EXPOSITION, EXPOSITION)
    assert await scene.replicas(2) == 4
    set_metrics(monkeypatch, "diffusion_queue_length 0", "diffusion_queue_length 0")
    scene.now = 20
    assert await scene.replicas(4) == 4
    scene.now = 20 + CALM_SECONDS
    assert await scene.replicas(4) == 3
    scene.now += 20
    assert await scene.replicas(3) == 3


async def test_a_pod_without_metrics_keeps_the_replicas_from_going_down(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_metrics(monkeypatch, "diffusion_queue_length 0", None)
    assert await scene.replicas(4) == 4
    scene.now = 2 * CALM_SECONDS
    assert await scene.replicas(4) == 4


async def test_replicas_are_handed_over_before_they_are_left_out(scene: Scene) -> None:
    assert await scene.replicas(3, "keda") is None
    assert scene.handed_over == [("demo", 3)]
    scene.built = await scene.scaling.replicated(
        scene.built, {**scene.built, "spec": {"replicas": 3}}, ONE_TO_FIVE, "keda", scene.pods
    )
    scene.handed_over.clear()
    assert await scene.replicas(3, "keda") is None
    assert scene.handed_over == []


async def test_a_service_that_was_suspended_is_handed_over_with_a_replica(scene: Scene) -> None:
    assert await scene.replicas(0, "hpa") is None
    assert scene.handed_over == [("demo", 1)]
