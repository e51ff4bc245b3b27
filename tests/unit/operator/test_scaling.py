"""The number of replicas, and the autoscaler that decides it."""

import asyncio
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import Autoscaling, DiffusionServiceSpec
from diffusion_operator.diffusionservice.scaling import scaling as module
from diffusion_operator.diffusionservice.scaling.provider import scaler_of
from diffusion_operator.diffusionservice.scaling.replica_calculator import (
    CALM_SECONDS,
    computed_replicas,
    load_of,
    next_replicas,
)
from diffusion_operator.diffusionservice.scaling.scaling import Scaling
from diffusion_operator.diffusionservice.scaling.scaling_active import autoscaler_verdict
from diffusion_operator.diffusionservice.specs.deployment import deployment, desired_replicas
from diffusion_operator.diffusionservice.specs.horizontal_pod_autoscaler import (
    horizontal_pod_autoscaler,
)
from diffusion_operator.diffusionservice.specs.replica_load import load_per_replica
from diffusion_operator.diffusionservice.specs.scaled_object import scaled_object
from diffusion_operator.kube.discovery import ApiDiscovery
from diffusion_operator.kube.objects import Key
from diffusion_operator.kube.problems import SpecError
from diffusion_operator.settings import Settings

Object = dict[str, Any]
ONE_TO_FIVE = Autoscaling(min_replicas=1, max_replicas=5, target_queued_per_replica=4)
EXPOSITION = """# HELP diffusion_queue_length Requests that wait for the engine.
# TYPE diffusion_queue_length gauge
diffusion_queue_length 7.0
diffusion_queue_length_of_something_else 100.0
"""


def scaled_spec(service: Object, **more: Any) -> DiffusionServiceSpec:
    scaling = ONE_TO_FIVE.model_dump(by_alias=True)
    return DiffusionServiceSpec.model_validate({**service["spec"], "autoscaling": scaling, **more})


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


@pytest.mark.parametrize("provider", ["KEDA", "HPA", "Operator"])
def test_the_spec_may_choose_the_autoscaler(service: Object, provider: str) -> None:
    spec = spec_of(service, autoscaling={"maxReplicas": 5, "provider": provider})
    groups = {"keda.sh", "custom.metrics.k8s.io"}
    assert scaler_of(spec, groups) == {"KEDA": "keda", "HPA": "hpa", "Operator": "own"}[provider]


@pytest.mark.parametrize("existing", ["keda", "hpa"])
def test_a_group_that_is_missing_for_a_moment_changes_no_autoscaler(
    service: Object, existing: Any
) -> None:
    spec = spec_of(service, autoscaling={"maxReplicas": 5})
    assert scaler_of(spec, {"apps"}, existing) == existing


def test_the_cost_in_flight_is_read_from_the_metrics_and_older_pods_have_a_number() -> None:
    assert load_of(EXPOSITION) == 7
    assert load_of(f"diffusion_requests_in_flight 9\n{EXPOSITION}") == 9
    metric = "diffusion_cost_in_flight"
    assert load_of(f"{metric} 25.5\ndiffusion_requests_in_flight 1\n{EXPOSITION}") == 25.5
    assert load_of(f'{metric}{{device="0"}} 1\n{metric}{{device="1"}} 2\n{EXPOSITION}') == 3
    assert load_of(f"{metric} 0\n{EXPOSITION}") == 0
    assert load_of("up 1") is None


@pytest.mark.parametrize(
    ("loads", "current", "replicas"),
    [
        ([0.0], 1, 1),
        ([12.0], 1, 1),
        ([13.0], 1, 2),
        ([30.0, 29.0], 2, 5),
        ([99.0], 1, 5),
        ([None], 1, None),
        ([], 1, None),
    ],
)
def test_each_replica_gets_a_batch_and_its_queue_within_the_bounds(
    service: Object, loads: list[float | None], current: int, replicas: int | None
) -> None:
    assert computed_replicas(loads, current, scaled_spec(service), ONE_TO_FIVE) == replicas


def test_a_steady_need_of_three_and_a_half_replicas_keeps_four(service: Object) -> None:
    steady = [7.0, 7.0, 7.0, 7.0]  # of batches of 8
    assert computed_replicas(steady, 4, scaled_spec(service), ONE_TO_FIVE) == 4
    overloaded = [13.0, 13.0, 13.0]
    assert computed_replicas(overloaded, 3, scaled_spec(service), ONE_TO_FIVE) == 4
    assert computed_replicas([6.0] * 4, 4, scaled_spec(service), ONE_TO_FIVE) == 3


@pytest.mark.parametrize(
    ("more", "load"),
    [
        ({}, 12),
        ({"batching": {"mode": "none"}}, 5),
        ({"gpu": {"type": "nvidia-l4", "count": 2}, "batching": {"maxSize": 4}}, 12),
    ],
)
def test_a_replica_carries_a_batch_of_each_gpu_and_its_queue(
    service: Object, more: Object, load: int
) -> None:
    assert load_per_replica(scaled_spec(service, **more)) == load


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
    made = scaled_object(service, scaled_spec(service), ONE_TO_FIVE)["spec"]
    (trigger,) = made["triggers"]
    assert trigger["metadata"]["url"] == "http://demo.shop.svc:8000/metrics"
    assert trigger["metadata"]["aggregationType"] == "sum"
    assert trigger["metadata"]["targetValue"] == "12"
    assert trigger["metadata"]["valueLocation"] == "diffusion_cost_in_flight"
    assert (made["minReplicaCount"], made["maxReplicaCount"]) == (1, 5)


def test_an_hpa_goes_by_the_average_queue(service: Object) -> None:
    made = horizontal_pod_autoscaler(service, scaled_spec(service), ONE_TO_FIVE)["spec"]
    (metric,) = made["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "12"}
    assert made["scaleTargetRef"]["kind"] == "Deployment"


class Scene:
    """Two ready pods, their metrics, and a clock."""

    def __init__(self, built: Object, spec: DiffusionServiceSpec) -> None:
        self.built = built
        self.spec = spec
        self.now = 0.0
        self.handed_over: list[tuple[str, int]] = []
        discovery = ApiDiscovery(self, lambda: self.now)  # type: ignore[arg-type] # a stand-in by shape
        self.scaling = Scaling(self, self, discovery, clock=lambda: self.now)  # type: ignore[arg-type] # same
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.pods = [{"metadata": {"name": name}, "status": ready} for name in "ab"]

    async def hand_over_replicas(self, key: Key, replicas: int) -> None:
        self.handed_over.append((key.name, replicas))

    async def replicas(self, current: int, scaler: Any = "own") -> int | None:
        live = {**self.built, "spec": {**self.built["spec"], "replicas": current}}
        manifest = await self.scaling.replicated(self.built, live, self.spec, scaler, self.pods)
        replicas: int | None = manifest["spec"].get("replicas")
        return replicas


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(deployment(service, spec_of(service), settings), scaled_spec(service))


def set_metrics(monkeypatch: pytest.MonkeyPatch, *texts: str | None) -> None:
    texts_by_pod = dict(zip("ab", texts, strict=True))

    async def read(pod: Object) -> str | None:
        return texts_by_pod[pod["metadata"]["name"]]

    monkeypatch.setattr(module, "read_metrics", read)


async def test_the_operators_own_scaler_removes_a_replica_only_after_a_time_of_calm(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = "diffusion_cost_in_flight 24"
    set_metrics(monkeypatch, busy, busy)
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
        scene.built, {**scene.built, "spec": {"replicas": 3}}, scene.spec, "keda", scene.pods
    )
    scene.handed_over.clear()
    assert await scene.replicas(3, "keda") is None
    assert scene.handed_over == []


async def test_a_service_that_was_suspended_is_handed_over_with_a_replica(scene: Scene) -> None:
    assert await scene.replicas(0, "hpa") is None
    assert scene.handed_over == [("demo", 1)]


async def test_pods_that_do_not_answer_hold_up_no_reconcile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()

    async def read(pod: Object) -> str | None:
        await answered.wait()
        return "diffusion_cost_in_flight 24"

    monkeypatch.setattr(module, "read_metrics", read)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.01)
    assert await asyncio.wait_for(scene.replicas(2), 2) == 2
    answered.set()
    assert await scene.replicas(2) == 4


async def test_an_operator_that_reaches_no_pod_says_so(
    service: Object, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_metrics(monkeypatch, None, None)
    assert await scene.replicas(2) == 2
    verdict = scene.scaling.verdict(service, "own")
    assert (verdict.status, verdict.reason) == ("False", "PodsUnreachable")
    scene.now += 20
    set_metrics(monkeypatch, "diffusion_cost_in_flight 1", None)
    await scene.replicas(2)
    assert scene.scaling.verdict(service, "own").status == "True"


@pytest.mark.parametrize(
    ("kind", "condition", "verdict"),
    [
        ("ScaledObject", {"type": "Ready", "status": "True", "reason": "ScaledObjectReady"},
         ("True", "ScaledObjectReady")),
        ("ScaledObject", {"type": "Ready", "status": "False", "reason": "TriggerError"},
         ("False", "TriggerError")),
        ("HorizontalPodAutoscaler",
         {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric"},
         ("False", "FailedGetPodsMetric")),
        ("HorizontalPodAutoscaler",
         {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"},
         ("Unknown", "ScalingDisabled")),
        ("HorizontalPodAutoscaler", {"type": "AbleToScale", "status": "True", "reason": "Ready"},
         ("Unknown", "NotReported")),
    ],
)  # fmt: skip
def test_a_dead_autoscaler_is_told(kind: str, condition: Object, verdict: tuple[str, str]) -> None:
    verdict_of = autoscaler_verdict({"status": {"conditions": [condition]}}, kind)
    assert (verdict_of.type, verdict_of.status, verdict_of.reason) == ("ScalingActive", *verdict)


class Keda:
    """Cluster in which the API groups lack KEDA, and an object of its kind may be known."""

    def __init__(self, *, known: bool) -> None:
        self.known = known

    async def groups(self) -> frozenset[str]:
        return frozenset({"apps"})

    async def knows_kind_of(self, key: Key) -> bool:  # noqa: ARG002 - the client's signature
        return self.known

    def get(self, key: Key) -> Object | None:
        owned = {"ownerReferences": [{"uid": "u-1"}]}
        return {"metadata": owned} if key.kind == "ScaledObject" else None


async def test_keda_stays_unless_its_kind_is_gone(service: Object) -> None:
    for known, auto in ((True, "keda"), (False, "own")):
        keda = Keda(known=known)
        scaling = Scaling(keda, keda, ApiDiscovery(keda))  # type: ignore[arg-type] # stand-ins by shape
        assert await scaling.scaler(service, scaled_spec(service)) == auto
    chosen = spec_of(service, autoscaling={"maxReplicas": 5, "provider": "KEDA"})
    with pytest.raises(SpecError, match=r"KEDA 2\.20"):
        await scaling.scaler(service, chosen)


def test_a_pending_upgrade_keeps_the_metric_that_the_pods_have(service: Object) -> None:
    built = scaled_object(service, scaled_spec(service), ONE_TO_FIVE)
    metadata = {"valueLocation": "diffusion_queue_length", "targetValue": "4"}
    triggers = [{"type": "metrics-api", "metadata": metadata}]
    kept = module.with_live_metric(built, {"spec": {"maxReplicaCount": 9, "triggers": triggers}})
    assert kept["spec"] == {**built["spec"], "triggers": triggers}
    assert kept["metadata"]["annotations"] != built["metadata"]["annotations"], "a new digest"
    assert module.with_live_metric(built, built) == built
    assert module.with_live_metric(built, None) == built
