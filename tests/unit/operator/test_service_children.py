"""A service's children, from the API server's answers about the existing ones."""

import copy
import itertools
import json
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from diffusion_operator.diffusionservice.reconciler import ServiceReconciler
from diffusion_operator.diffusionservice.specs.deployment import deployment
from diffusion_operator.diffusionservice.specs.ray_service import REPLICA_FIELDS, ray_service
from diffusion_operator.diffusionservice.specs.service import service as build_service
from diffusion_operator.kube.applier import FIRST_HOLD_BACK_SECONDS, HOLD_BACK_SECONDS, Applier
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, NotFoundError
from diffusion_operator.kube.objects import Key, Object, key_of
from diffusion_operator.kube.store import ChildStores
from diffusion_operator.settings import Settings

CLUSTER: Object = {"backend": "rayserve", "rayserve": {"topology": "cluster"}}
NOW = "2026-01-02T03:04:05Z"
RAY = frozenset({"ray.io", "ray.io/v1"})
RAY_SERVICE, WORKERS, HEAD, SERVICE, AUTOSCALER, SCALED_OBJECT = (
    Key(kind, "shop", name)
    for kind, name in (
        ("RayService", "demo"),
        ("Deployment", "demo"),
        ("Deployment", "demo-head"),
        ("Service", "demo"),
        ("HorizontalPodAutoscaler", "demo"),
        ("ScaledObject", "demo"),
    )
)


class Server:
    """Stand-in for the API server, and for the watch of its objects."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.refusals: dict[str, ApiError] = {}
        self.served_groups = RAY
        self.unserved_kinds: frozenset[str] = frozenset()
        self.version = 10
        self.reads: list[Key] = []

    async def groups(self) -> frozenset[str]:
        return self.served_groups

    async def knows_kind_of(self, key: Key) -> bool:
        return key.kind not in self.unserved_kinds

    async def get(self, key: Key) -> Object | None:
        self.reads.append(key)
        return self.objects.get(key)

    async def create(self, obj: Object) -> Object | None:
        if obj["kind"] != "Event" and key_of(obj) in self.objects:
            return None
        return await self.apply(obj)

    async def apply(self, obj: Object) -> Object:
        if obj["kind"] in self.refusals:
            raise self.refusals[obj["kind"]]
        if obj["kind"] == "ScaledObject" and AUTOSCALER in self.objects:
            raise answer(403, "denied the request: the workload is already managed by the hpa")
        return self.put(obj)

    async def apply_status(self, obj: Object) -> Object:
        before = self.objects[key_of(obj)]
        return self.put({**before, "status": obj["status"]})

    async def hand_over_replicas(self, key: Key, replicas: int) -> None:
        """Does nothing, since the owners of fields play no part here."""

    async def own_what_was_created(self, key: Key) -> None:
        """Does nothing, since the owners of fields play no part here."""

    async def json_patch(self, key: Key, operations: list[Object]) -> Object:
        (group,) = self.objects[key]["spec"]["workerGroupSpecs"]
        for operation in operations:
            parent, _, field = operation["path"].rpartition("/")
            assert parent == "/spec/workerGroupSpecs/0"
            if operation["op"] == "test":
                assert group[field] == operation["value"]
            else:
                group[field] = operation["value"]
        return self.put(self.objects[key])

    async def delete(self, obj: Object) -> None:
        self.objects.pop(key_of(obj), None)

    def put(self, obj: Object) -> Object:
        self.version += 1
        named = f"{obj['kind']}-{obj['metadata']['name']}"
        meta = {"uid": named, **obj["metadata"], "resourceVersion": str(self.version)}
        before = self.objects.get(key_of(obj), {})
        stored = {**before, **obj, "metadata": meta}
        self.objects[key_of(obj)] = stored
        return stored


class Scene:
    """A service whose reconciler sees the server's objects at each reconcile."""

    def __init__(self, service: Object, settings: Settings) -> None:
        self.server = Server()
        self.settings = settings
        self.pods: list[Object] = []
        self.service = service
        self.set_spec(**CLUSTER)

    def set_spec(self, **spec: Any) -> None:
        self.service = {**self.service, "spec": {**self.service["spec"], **spec}}
        self.server.put(self.service)

    @property
    def spec(self) -> DiffusionServiceSpec:
        return DiffusionServiceSpec.model_validate(self.service["spec"])

    def add_ray_service(self, **status: Any) -> Object:
        self.add_service()
        built = ray_service(self.service, self.spec, self.settings)
        built["metadata"]["generation"] = 1
        return self.server.put({**built, "status": {"observedGeneration": 1, **status}})

    def add_deployment(self) -> None:
        self.add_service()
        self.server.put(deployment(self.service, self.spec, self.settings))

    def add_service(self) -> None:
        self.server.put(build_service(self.service, self.spec))

    async def reconcile(self, *, waits: bool = True) -> float | None:
        """Reconciles once: waits for a status that is held back, or returns the seconds to wait."""
        children = ChildStores()
        for key, obj in self.server.objects.items():
            if key.kind in children.by_name:
                children.store(key.kind).put(obj)
        pods = children.store("Pod")
        for pod in self.pods:
            pods.put(pod)
        key = key_of(self.service)
        owners = {(key.namespace, key.name): [self.server.objects[key]]}
        cache = Cache(
            {**children.by_name, "DiffusionService": owners, "LoadTest": {}},
            pods=children.pods,
            jobs={},
            tests={},
            compared={},
            revisions=children.revisions,
        )
        ticks = itertools.count(step=100 if waits else 0)
        applier = Applier(self.server, cache, clock=lambda: next(ticks), now=lambda: NOW)  # type: ignore[arg-type] # a stand-in by shape
        reconciler = ServiceReconciler(
            self.server,  # type: ignore[arg-type] # a stand-in by shape
            cache,
            applier,
            self.settings,
            lambda: NOW,
        )
        return await reconciler(key)

    def condition(self, kind: str = "Ready") -> tuple[str, str, str]:
        conditions = self.server.objects[key_of(self.service)]["status"]["conditions"]
        (one,) = [each for each in conditions if each["type"] == kind]
        return one["status"], one["reason"], one["message"]

    def exist(self, *keys: Key) -> list[bool]:
        return [key in self.server.objects for key in keys]

    def selector_label(self) -> str:
        (label,) = self.server.objects[SERVICE]["spec"]["selector"]
        return str(label)


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings)


def answer(status: int, message: str, path: str = "") -> ApiError:
    kind = NotFoundError if status == 404 else ApiError
    body = message if message.startswith("404") else json.dumps({"message": message})
    return kind(status, "", body, None, path)


NO_TOKENS = answer(500, ".spec.rayClusterConfig.authOptions: field not declared in schema")
FEW = answer(403, "exceeded quota: few, requested: count/rayservices.ray.io=1")


@pytest.mark.parametrize(
    ("refused", "reason"), [(NO_TOKENS, "KubeRayTooOld"), (FEW, "QuotaExceeded")]
)
async def test_the_previous_workload_goes_on_where_the_ray_service_is_refused(
    scene: Scene, refused: ApiError, reason: str
) -> None:
    scene.set_spec(rayserve={"topology": "pods"})
    scene.add_deployment()
    scene.set_spec(**CLUSTER)
    scene.server.refusals["RayService"] = refused
    await scene.reconcile()
    assert scene.condition()[:2] == ("False", reason)
    assert scene.exist(WORKERS, RAY_SERVICE) == [True, False]
    assert scene.selector_label() == "diffusion.dev/service"
    scene.server.refusals.clear()
    await scene.reconcile()
    assert scene.exist(WORKERS, RAY_SERVICE) == [False, True]
    assert scene.selector_label() == "diffusion.dev/ray-head"


async def test_a_ray_service_stays_though_one_list_of_the_groups_lacks_its_own(
    scene: Scene,
) -> None:
    scene.add_ray_service()
    scene.server.served_groups = frozenset()
    await scene.reconcile()
    assert scene.exist(RAY_SERVICE, WORKERS, HEAD) == [True, False, False]


async def test_a_cluster_without_kuberay_is_refused_in_a_sentence(scene: Scene) -> None:
    scene.server.served_groups, scene.server.unserved_kinds = frozenset(), frozenset({"RayService"})
    await scene.reconcile()
    assert scene.condition()[:2] == ("False", "KubeRayMissing")
    assert "install KubeRay, or use rayserve.topology: pods" in scene.condition()[2]
    assert scene.exist(RAY_SERVICE, WORKERS, HEAD) == [False, False, False]


REFUSED_PODS = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreateWorkerPod",
    "message": 'pods "x" is forbidden: exceeded quota: few',
}


@pytest.mark.parametrize("part", ["pendingServiceStatus", "activeServiceStatus"])
async def test_refused_pods_are_reported_by_the_ray_cluster_itself(scene: Scene, part: str) -> None:
    scene.add_ray_service(**{part: {"rayClusterName": "two"}})
    scene.server.put(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": "two", "namespace": "shop"},
            "status": {"conditions": [REFUSED_PODS]},
        }
    )
    await scene.reconcile()
    assert scene.condition()[:2] == ("False", "QuotaExceeded")


def pods_of(ray_service: Object, ray_cluster: str) -> list[Object]:
    """The ready pods of a Ray cluster, as KubeRay makes them."""
    config = ray_service["spec"]["rayClusterConfig"]
    (group,) = config["workerGroupSpecs"]
    templates = [config["headGroupSpec"]["template"], *[group["template"]] * group["replicas"]]
    ready = [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")]
    return [
        {
            "metadata": {
                "name": f"{ray_cluster}-{number}",
                "namespace": "shop",
                "uid": f"{ray_cluster}-{number}",
                "resourceVersion": "1",
                "labels": {**template["metadata"]["labels"], "ray.io/cluster": ray_cluster},
            },
            "spec": {"nodeName": "node"},
            "status": {"conditions": ready},
        }
        for number, template in enumerate(templates)
    ]


async def test_a_ray_cluster_that_serves_is_not_read(scene: Scene) -> None:
    ray_object = scene.add_ray_service(activeServiceStatus={"rayClusterName": "one"})
    scene.pods = pods_of(ray_object, "one")
    await scene.reconcile()
    assert scene.condition()[:2] == ("True", "Serving")
    assert "RayCluster" not in {key.kind for key in scene.server.reads}


@pytest.mark.parametrize("part", ["pendingServiceStatus", "activeServiceStatus"])
async def test_a_ray_cluster_gets_the_replicas_that_kuberay_would_leave_as_they_were(
    scene: Scene, part: str
) -> None:
    ray_object = scene.add_ray_service(**{part: {"rayClusterName": "one"}})
    scene.pods = pods_of(ray_object, "one")
    (group,) = copy.deepcopy(ray_object["spec"]["rayClusterConfig"]["workerGroupSpecs"])
    meta = {"name": "one", "namespace": "shop"}
    body = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": meta}
    ray_cluster = scene.server.put({**body, "spec": {"workerGroupSpecs": [group]}})
    for replicas in (5, 1):
        scene.set_spec(replicas=replicas)
        await scene.reconcile()
        assert {group[field] for field in REPLICA_FIELDS} == {replicas}
        version = scene.server.objects[key_of(ray_cluster)]["metadata"]["resourceVersion"]
        await scene.reconcile()
        again = scene.server.objects[key_of(ray_cluster)]["metadata"]["resourceVersion"]
        assert again == version


async def test_a_change_that_is_reverted_is_served_by_the_existing_cluster(
    scene: Scene,
) -> None:
    ray_object = scene.add_ray_service(
        activeServiceStatus={"rayClusterName": "one"},
        pendingServiceStatus={"rayClusterName": "three"},
    )
    served, beside = pods_of(ray_object, "one"), pods_of(ray_object, "three")
    scene.pods = [*served, *beside]
    await scene.reconcile()
    assert scene.condition()[:2] == ("True", "Serving")
    assert scene.condition()[2].startswith("2 of 2 replicas")
    older = pods_of(ray_object, "two")
    for pod in older:
        pod["metadata"]["labels"]["diffusion.dev/revision"] = "other"
    scene.pods = [*served, *older]
    await scene.reconcile()
    assert scene.condition()[:2] == ("Unknown", "RollingOut")


async def test_a_missing_kind_is_not_taken_for_kuberays(scene: Scene) -> None:
    scene.set_spec(route={"host": "a.test", "gatewayRef": {"name": "web"}})
    gateway = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/demo"
    scene.server.refusals["HTTPRoute"] = answer(404, "404 page not found", gateway)
    await scene.reconcile()
    assert scene.condition()[1] == "KindNotInstalled"
    assert "Gateway API" in scene.condition()[2]
    scene.server.refusals = {
        "RayService": answer(404, "404 page not found", "/apis/ray.io/v1/namespaces/shop")
    }
    scene.server.objects.pop(RAY_SERVICE)
    await scene.reconcile()
    assert scene.condition()[1] == "KindNotInstalled"
    assert "RayService" in scene.condition()[2]


async def test_workloads_of_an_older_release_give_way_to_kuberays_pods(scene: Scene) -> None:
    scene.set_spec(rayserve={"topology": "pods"})
    scene.add_deployment()
    made = deployment(scene.service, scene.spec, scene.settings)
    scene.server.put({**made, "metadata": {**made["metadata"], "name": "demo-head"}})
    scene.set_spec(**CLUSTER)
    await scene.reconcile()
    assert scene.exist(RAY_SERVICE, WORKERS, HEAD) == [True, False, False]


@pytest.mark.parametrize("idle", [{"suspend": True}, {"replicas": 0}])
async def test_no_head_is_kept_without_workers(scene: Scene, idle: Object) -> None:
    scene.add_ray_service()
    scene.set_spec(**idle)
    await scene.reconcile()
    assert scene.exist(RAY_SERVICE) == [False]
    assert scene.condition("Stopped")[0] == "True"


async def test_the_first_status_of_a_suspended_ray_cluster_waits_for_nothing(scene: Scene) -> None:
    scene.set_spec(suspend=True)
    assert await scene.reconcile(waits=False) == HOLD_BACK_SECONDS
    scene.set_spec(suspend=False)
    assert await scene.reconcile(waits=False) == FIRST_HOLD_BACK_SECONDS


async def test_an_autoscaler_goes_before_kedas_webhook_sees_its_successor(scene: Scene) -> None:
    scene.server.served_groups = frozenset(
        {"keda.sh", "custom.metrics.k8s.io", "custom.metrics.k8s.io/v1beta2"}
    )
    pods = {"rayserve": {"topology": "pods"}}
    scene.set_spec(**pods, autoscaling={"maxReplicas": 3, "provider": "HPA"})
    await scene.reconcile()
    assert scene.exist(AUTOSCALER, SCALED_OBJECT) == [True, False]
    scene.set_spec(**pods, autoscaling={"maxReplicas": 3, "provider": "KEDA"})
    await scene.reconcile()
    assert scene.exist(AUTOSCALER, SCALED_OBJECT) == [False, True]
    assert scene.condition()[1] != "Forbidden"
