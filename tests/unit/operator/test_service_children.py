"""Which children a service gets, from what the API server says of those that it has."""

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
RAY_SERVICE, WORKERS, HEAD, SERVICE = (
    Key(kind, "shop", name)
    for kind, name in (
        ("RayService", "demo"),
        ("Deployment", "demo"),
        ("Deployment", "demo-head"),
        ("Service", "demo"),
    )
)


class Server:
    """Stands in for the API server, and for the watch of what it has."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.refusals: dict[str, ApiError] = {}
        self.offered = RAY
        self.unknown: frozenset[str] = frozenset()
        self.version = 10
        self.asked: list[Key] = []

    async def groups(self) -> frozenset[str]:
        return self.offered

    async def knows_kind_of(self, key: Key) -> bool:
        return key.kind not in self.unknown

    async def get(self, key: Key) -> Object | None:
        self.asked.append(key)
        return self.objects.get(key)

    async def create(self, obj: Object) -> Object | None:
        if obj["kind"] != "Event" and key_of(obj) in self.objects:
            return None
        return await self.apply(obj)

    async def apply(self, obj: Object) -> Object:
        if obj["kind"] in self.refusals:
            raise self.refusals[obj["kind"]]
        return self.has(obj)

    async def apply_status(self, obj: Object) -> Object:
        before = self.objects[key_of(obj)]
        return self.has({**before, "status": obj["status"]})

    async def own_what_was_created(self, key: Key) -> None:
        """Whose fields they are plays no part."""

    async def json_patch(self, key: Key, operations: list[Object]) -> Object:
        (group,) = self.objects[key]["spec"]["workerGroupSpecs"]
        for operation in operations:
            parent, _, field = operation["path"].rpartition("/")
            assert parent == "/spec/workerGroupSpecs/0"
            if operation["op"] == "test":
                assert group[field] == operation["value"]
            else:
                group[field] = operation["value"]
        return self.has(self.objects[key])

    async def delete(self, obj: Object) -> None:
        self.objects.pop(key_of(obj), None)

    def has(self, obj: Object) -> Object:
        self.version += 1
        named = f"{obj['kind']}-{obj['metadata']['name']}"
        meta = {"uid": named, **obj["metadata"], "resourceVersion": str(self.version)}
        before = self.objects.get(key_of(obj), {})
        found = {**before, **obj, "metadata": meta}
        self.objects[key_of(obj)] = found
        return found


class Scene:
    """A service whose reconciler sees what the server has at each look."""

    def __init__(self, service: Object, settings: Settings) -> None:
        self.server = Server()
        self.settings = settings
        self.pods: list[Object] = []
        self.service = service
        self.wants(**CLUSTER)

    def wants(self, **spec: Any) -> None:
        self.service = {**self.service, "spec": {**self.service["spec"], **spec}}
        self.server.has(self.service)

    @property
    def spec(self) -> DiffusionServiceSpec:
        return DiffusionServiceSpec.model_validate(self.service["spec"])

    def has_ray_service(self, **status: Any) -> Object:
        self.has_service()
        built = ray_service(self.service, self.spec, self.settings)
        built["metadata"]["generation"] = 1
        return self.server.has({**built, "status": {"observedGeneration": 1, **status}})

    def has_deployment(self) -> None:
        self.has_service()
        self.server.has(deployment(self.service, self.spec, self.settings))

    def has_service(self) -> None:
        self.server.has(build_service(self.service, self.spec))

    async def looks(self, *, waits: bool = True) -> float | None:
        """One look at all that there is; what is held back is waited for, or else so long told."""
        children = ChildStores()
        for key, obj in self.server.objects.items():
            if key.kind in children.by_name:
                children.store(key.kind).put(obj)
        kept = children.store("Pod")
        for pod in self.pods:
            kept.put(pod)
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
        writes = Applier(self.server, cache, clock=lambda: next(ticks), now=lambda: NOW)  # type: ignore[arg-type] # a stand-in by shape
        reconcile = ServiceReconciler(
            self.server,  # type: ignore[arg-type] # a stand-in by shape
            cache,
            writes,
            self.settings,
            lambda: NOW,
        )
        return await reconcile(key)

    def said(self, kind: str = "Ready") -> tuple[str, str, str]:
        conditions = self.server.objects[key_of(self.service)]["status"]["conditions"]
        (found,) = [each for each in conditions if each["type"] == kind]
        return found["status"], found["reason"], found["message"]

    def there(self, *keys: Key) -> list[bool]:
        return [key in self.server.objects for key in keys]

    def leads_to(self) -> str:
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
async def test_what_served_goes_on_where_its_ray_service_is_refused(
    scene: Scene, refused: ApiError, reason: str
) -> None:
    scene.wants(rayserve={"topology": "pods"})
    scene.has_deployment()
    scene.wants(**CLUSTER)
    scene.server.refusals["RayService"] = refused
    await scene.looks()
    assert scene.said()[:2] == ("False", reason)
    assert scene.there(WORKERS, RAY_SERVICE) == [True, False]
    assert scene.leads_to() == "diffusion.dev/service"
    scene.server.refusals.clear()
    await scene.looks()
    assert scene.there(WORKERS, RAY_SERVICE) == [False, True]
    assert scene.leads_to() == "diffusion.dev/ray-head"


async def test_a_ray_service_stays_though_one_list_of_the_groups_lacks_its_own(
    scene: Scene,
) -> None:
    scene.has_ray_service()
    scene.server.offered = frozenset()
    await scene.looks()
    assert scene.there(RAY_SERVICE, WORKERS, HEAD) == [True, False, False]


async def test_a_cluster_without_kuberay_is_refused_in_a_sentence(scene: Scene) -> None:
    scene.server.offered, scene.server.unknown = frozenset(), frozenset({"RayService"})
    await scene.looks()
    assert scene.said()[:2] == ("False", "KubeRayMissing")
    assert "install KubeRay, or use rayserve.topology: pods" in scene.said()[2]
    assert scene.there(RAY_SERVICE, WORKERS, HEAD) == [False, False, False]


REFUSED_PODS = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreateWorkerPod",
    "message": 'pods "x" is forbidden: exceeded quota: few',
}


@pytest.mark.parametrize("part", ["pendingServiceStatus", "activeServiceStatus"])
async def test_refused_pods_are_told_by_the_ray_cluster_itself(scene: Scene, part: str) -> None:
    scene.has_ray_service(**{part: {"rayClusterName": "two"}})
    scene.server.has(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": "two", "namespace": "shop"},
            "status": {"conditions": [REFUSED_PODS]},
        }
    )
    await scene.looks()
    assert scene.said()[:2] == ("False", "QuotaExceeded")


def pods_of(ray_service: Object, ray_cluster: str) -> list[Object]:
    """The pods of a cluster, as KubeRay makes them, that answer."""
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


async def test_a_ray_cluster_that_serves_is_not_asked_for(scene: Scene) -> None:
    found = scene.has_ray_service(activeServiceStatus={"rayClusterName": "one"})
    scene.pods = pods_of(found, "one")
    await scene.looks()
    assert scene.said()[:2] == ("True", "Serving")
    assert "RayCluster" not in {key.kind for key in scene.server.asked}


@pytest.mark.parametrize("part", ["pendingServiceStatus", "activeServiceStatus"])
async def test_a_ray_cluster_gets_the_replicas_that_kuberay_would_leave_as_they_were(
    scene: Scene, part: str
) -> None:
    found = scene.has_ray_service(**{part: {"rayClusterName": "one"}})
    scene.pods = pods_of(found, "one")
    (group,) = copy.deepcopy(found["spec"]["rayClusterConfig"]["workerGroupSpecs"])
    meta = {"name": "one", "namespace": "shop"}
    body = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": meta}
    ray_cluster = scene.server.has({**body, "spec": {"workerGroupSpecs": [group]}})
    for replicas in (5, 1):
        scene.wants(replicas=replicas)
        await scene.looks()
        assert {group[field] for field in REPLICA_FIELDS} == {replicas}
        version = scene.server.objects[key_of(ray_cluster)]["metadata"]["resourceVersion"]
        await scene.looks()
        again = scene.server.objects[key_of(ray_cluster)]["metadata"]["resourceVersion"]
        assert again == version


async def test_a_change_that_is_taken_back_is_served_by_the_cluster_that_was_there(
    scene: Scene,
) -> None:
    found = scene.has_ray_service(
        activeServiceStatus={"rayClusterName": "one"},
        pendingServiceStatus={"rayClusterName": "three"},
    )
    served, beside = pods_of(found, "one"), pods_of(found, "three")
    scene.pods = [*served, *beside]
    await scene.looks()
    assert scene.said()[:2] == ("True", "Serving")
    assert scene.said()[2].startswith("2 of 2 replicas")
    older = pods_of(found, "two")
    for pod in older:
        pod["metadata"]["labels"]["diffusion.dev/revision"] = "other"
    scene.pods = [*served, *older]
    await scene.looks()
    assert scene.said()[:2] == ("Unknown", "RollingOut")


async def test_a_kind_that_is_lacking_is_not_taken_for_kuberays(scene: Scene) -> None:
    scene.wants(route={"host": "a.test", "gatewayRef": {"name": "web"}})
    gateway = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/demo"
    scene.server.refusals["HTTPRoute"] = answer(404, "404 page not found", gateway)
    await scene.looks()
    assert scene.said()[1] == "KindNotInstalled"
    assert "Gateway API" in scene.said()[2]
    scene.server.refusals = {
        "RayService": answer(404, "404 page not found", "/apis/ray.io/v1/namespaces/shop")
    }
    scene.server.objects.pop(RAY_SERVICE)
    await scene.looks()
    assert scene.said()[1] == "KindNotInstalled"
    assert "RayService" in scene.said()[2]


async def test_what_an_older_release_made_gives_way_to_kuberays_pods(scene: Scene) -> None:
    scene.wants(rayserve={"topology": "pods"})
    scene.has_deployment()
    made = deployment(scene.service, scene.spec, scene.settings)
    scene.server.has({**made, "metadata": {**made["metadata"], "name": "demo-head"}})
    scene.wants(**CLUSTER)
    await scene.looks()
    assert scene.there(RAY_SERVICE, WORKERS, HEAD) == [True, False, False]


@pytest.mark.parametrize("idle", [{"suspend": True}, {"replicas": 0}])
async def test_no_head_is_kept_where_no_worker_is_wanted(scene: Scene, idle: Object) -> None:
    scene.has_ray_service()
    scene.wants(**idle)
    await scene.looks()
    assert scene.there(RAY_SERVICE) == [False]
    assert scene.said("Stopped")[0] == "True"


async def test_the_first_status_of_a_suspended_ray_cluster_waits_for_nothing(scene: Scene) -> None:
    scene.wants(suspend=True)
    assert await scene.looks(waits=False) == HOLD_BACK_SECONDS
    scene.wants(suspend=False)
    assert await scene.looks(waits=False) == FIRST_HOLD_BACK_SECONDS
