"""Ray clusters by KubeRay, where its kinds are installed; the tests play KubeRay."""

import itertools
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from kubectl import Kubectl, KubectlError, condition, eventually
from kuberay import definitions
from manifests import RESTRICTED, diffusion_service
from operator_process import OperatorProcess

Object = dict[str, Any]
CLUSTER: Object = {"backend": "rayserve", "rayserve": {"topology": "cluster"}}
WITHIN = 90  # the operator discovers the cluster's kinds every ten seconds
HEAD = {"diffusion.dev/ray-head": "demo"}
KINDS = ("rayservices", "rayclusters")
DEFINED = [f"{kind}.ray.io" for kind in KINDS]


class Definitions:
    """KubeRay's published kinds, which can be installed and removed."""

    def __init__(self, cluster: Kubectl) -> None:
        self._cluster = cluster
        self._is_there = False

    def install(self, kubectl: Kubectl) -> None:
        """Installs the kinds, and waits until the operator knows them."""
        if self._is_there:
            return
        published = {path.name: str(path) for path in definitions()}
        self._is_there = True
        for kind in KINDS:
            self._cluster("apply", "--server-side", "-f", published[f"ray.io_{kind}.yaml"])
        kubectl.apply(diffusion_service("probe", **CLUSTER))
        steps = itertools.count(1)

        def is_known() -> bool:
            kubectl.patch("dsvc", "probe", {"spec": {"generation": {"steps": next(steps)}}})
            return kubectl.find("rayservice", "probe") is not None

        # The API server knows no path of the kinds for a moment.
        known = "the operator to know KubeRay"
        eventually(is_known, within=WITHIN, every=0.5, what=known, forgive=KubectlError)
        kubectl.delete("dsvc", "probe")

    def remove(self) -> None:
        """Removes the kinds with all their objects, which takes the API server some seconds."""
        if self._is_there:
            self._cluster("delete", "crd", *DEFINED, "--ignore-not-found")
            self._is_there = False


@pytest.fixture(scope="module")
def kinds(control_plane: Kubectl) -> Iterator[Definitions]:
    """KubeRay's kinds, removed after these tests."""
    made = Definitions(control_plane)
    yield made
    made.remove()


@pytest.fixture
def kuberay(kubectl: Kubectl, kinds: Definitions, operator: OperatorProcess) -> Iterator[None]:
    """Installs KubeRay's kinds before the test, so that the operator knows them."""
    kinds.install(kubectl)
    yield
    # Otherwise the operator recreates objects that the removal of the definitions waits for.
    kubectl.delete_all("dsvc")


def made(kubectl: Kubectl, name: str = "demo") -> Object:
    return eventually(
        lambda: kubectl.find("rayservice", name), within=WITHIN, what="the RayService"
    )


def workers(kubectl: Kubectl, ray_cluster: str) -> set[int]:
    """The numbers of workers in the specs of the RayService and its RayCluster."""
    config = kubectl.get("rayservice", "demo")["spec"]["rayClusterConfig"]
    existing = kubectl.get("raycluster", ray_cluster)["spec"]
    fields = ("replicas", "minReplicas", "maxReplicas")
    groups = [group for spec in (config, existing) for group in spec["workerGroupSpecs"]]
    return {int(group[field]) for group in groups for field in fields}


def ready_of(kubectl: Kubectl) -> Object:
    return condition(kubectl.get("dsvc", "demo"), "Ready")


def is_ready(kubectl: Kubectl, status: str, reason: str) -> bool:
    ready = ready_of(kubectl)
    return (ready.get("status"), ready.get("reason")) == (status, reason)


def becomes(kubectl: Kubectl, status: str, reason: str) -> None:
    eventually(lambda: is_ready(kubectl, status, reason), within=WITHIN, what=reason)


def act(kubectl: Kubectl, ray_service: Object, ray_cluster: str) -> None:
    """Plays KubeRay: creates Ready pods from the templates, and writes the status."""
    spec = ray_service["spec"]["rayClusterConfig"]
    (group,) = spec["workerGroupSpecs"]
    pods = [(f"{ray_cluster}-head", spec["headGroupSpec"]["template"])]
    pods += [(f"{ray_cluster}-{n}", group["template"]) for n in range(group["replicas"])]
    ready = [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")]
    for name, template in pods:
        own = {"ray.io/cluster": ray_cluster}
        meta = {"name": name, "labels": {**template["metadata"]["labels"], **own}}
        kubectl.apply({"apiVersion": "v1", "kind": "Pod", **template, "metadata": meta})
        status = {"status": {"conditions": ready, "phase": "Running"}}
        kubectl.patch("pod", name, status, "--subresource=status")
    tell(kubectl, activeServiceStatus={"rayClusterName": ray_cluster})


def tell(kubectl: Kubectl, **fields: Any) -> None:
    generation = kubectl.get("rayservice", "demo")["metadata"]["generation"]
    status = {"status": {"observedGeneration": generation, **fields}}
    kubectl.patch("rayservice", "demo", status, "--subresource=status")


def leave(kubectl: Kubectl, ray_cluster: str) -> None:
    kubectl.delete_all("pods", f"ray.io/cluster={ray_cluster}", now=True)


def make(kubectl: Kubectl, ray_cluster: str) -> None:
    """Plays KubeRay: makes a RayCluster of the RayService as it is."""
    spec = kubectl.get("rayservice", "demo")["spec"]["rayClusterConfig"]
    meta = {"name": ray_cluster}
    kubectl.apply({"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": meta, "spec": spec})


def begin(kubectl: Kubectl, ray_cluster: str, *conditions: Object) -> None:
    """Plays KubeRay: makes a pending RayCluster, whose conditions alone report refused pods."""
    make(kubectl, ray_cluster)
    status = {"status": {"conditions": list(conditions)}}
    kubectl.patch("raycluster", ray_cluster, status, "--subresource=status")
    tell(kubectl, pendingServiceStatus={"rayClusterName": ray_cluster})


def gone(kubectl: Kubectl, kind: str, name: str) -> bool:
    return kubectl.find(kind, name) is None


def former_head(kubectl: Kubectl) -> None:
    """Makes the head's objects as the operator of release 0.1.0 did, without KubeRay."""
    workers = kubectl.get("deployment", "demo")["metadata"]
    own = {part: workers[part] for part in ("labels", "ownerReferences")}
    meta = {"name": "demo-head", **own}
    pod = {"containers": [{"name": "server", "image": "rayserve:none"}]}
    spec = {
        "selector": {"matchLabels": HEAD},
        "template": {"metadata": {"labels": HEAD}, "spec": pod},
    }
    kubectl.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
    entrance = {"clusterIP": "None", "selector": HEAD, "ports": [{"port": 6379}]}
    kubectl.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": entrance})


def test_a_cluster_of_an_earlier_release_serves_on_until_kuberay_makes_another(
    kubectl: Kubectl,
    kinds: Definitions,
    operator: OperatorProcess,
    request: pytest.FixtureRequest,
) -> None:
    kinds.remove()
    kubectl.apply(diffusion_service(backend="rayserve"))
    eventually(lambda: kubectl.find("service", "demo"), within=WITHIN, what="its children")
    kubectl.apply(diffusion_service(**CLUSTER))
    becomes(kubectl, "False", "KubeRayMissing")
    assert "install KubeRay" in ready_of(kubectl)["message"]
    # The head comes after the refusal: a reconcile of the first spec would prune it.
    former_head(kubectl)
    former = [("deployment", "demo"), ("deployment", "demo-head"), ("service", "demo-head")]
    before = [kubectl.get(*each)["metadata"]["uid"] for each in former]
    kubectl.patch("dsvc", "demo", {"spec": {"replicas": 2}})
    generation = kubectl.get("dsvc", "demo")["metadata"]["generation"]
    eventually(
        lambda: ready_of(kubectl)["observedGeneration"] == generation,
        within=WITHIN,
        what="a reconcile with the head in place",
    )
    becomes(kubectl, "False", "KubeRayMissing")
    assert [kubectl.get(*each)["metadata"]["uid"] for each in former] == before
    assert kubectl.get("service", "demo")["spec"]["selector"] != HEAD

    request.getfixturevalue("kuberay")
    kubectl.patch("dsvc", "demo", {"spec": {"replicas": 3}})
    made(kubectl)
    for kind, name in former:
        eventually(partial(gone, kubectl, kind, name), within=WITHIN, what=f"{kind} {name} to go")
    assert kubectl.get("service", "demo")["spec"]["selector"] == HEAD

    kinds.remove()
    becomes(kubectl, "False", "KubeRayMissing")
    assert not any(kubectl.find(*each) for each in former)


@pytest.mark.usefixtures("kuberay")
def test_a_ray_cluster_is_kuberays_from_its_first_pod_to_its_last(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.label("namespace", kubectl.namespace, RESTRICTED)
    kubectl.apply(diffusion_service(replicas=2, **CLUSTER))
    first = made(kubectl)
    (owner,) = first["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("DiffusionService", "demo")
    assert kubectl.find("deployment", "demo") is None
    assert kubectl.find("deployment", "demo-head") is None
    assert kubectl.get("service", "demo")["spec"]["selector"] == HEAD
    becomes(kubectl, "Unknown", "AwaitingKubeRay")
    make(kubectl, "one")
    act(kubectl, first, "one")
    becomes(kubectl, "True", "Serving")
    status = kubectl.get("dsvc", "demo")["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)

    kubectl.scale("dsvc", "demo", 3)
    eventually(lambda: workers(kubectl, "one") == {3}, what="three workers to be asked for")
    act(kubectl, kubectl.get("rayservice", "demo"), "one")
    becomes(kubectl, "True", "Serving")
    budget = kubectl.get("pdb", "demo")["spec"]
    assert (budget.get("minAvailable"), budget.get("maxUnavailable")) == (2, None)

    kubectl.patch("dsvc", "demo", {"spec": {"suspend": True}})
    eventually(lambda: not kubectl.find("rayservice", "demo"), what="the RayService to go")
    leave(kubectl, "one")
    becomes(kubectl, "False", "Suspended")
    kubectl.patch("dsvc", "demo", {"spec": {"suspend": False}})
    assert made(kubectl)["metadata"]["uid"] != first["metadata"]["uid"]


@pytest.mark.usefixtures("kuberay")
def test_a_new_revision_takes_over_from_one_that_serves_meanwhile(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(**CLUSTER))
    act(kubectl, made(kubectl), "one")
    becomes(kubectl, "True", "Serving")
    before = kubectl.get("dsvc", "demo")["status"]["revision"]
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    becomes(kubectl, "Unknown", "AwaitingKubeRay")
    assert before in ready_of(kubectl)["message"]
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreateWorkerPod",
               "lastTransitionTime": "2026-01-02T03:04:05Z",
               "message": "pods is forbidden: exceeded quota: few"}  # fmt: skip
    begin(kubectl, "two", refused)
    becomes(kubectl, "False", "QuotaExceeded")
    assert kubectl.get("dsvc", "demo")["status"]["revision"] == before
    begin(kubectl, "two")
    becomes(kubectl, "Unknown", "RollingOut")
    pending_of = condition(kubectl.get("dsvc", "demo"), "Progressing")
    assert pending_of["reason"] == "RollingOut"
    act(kubectl, kubectl.get("rayservice", "demo"), "two")
    leave(kubectl, "one")
    becomes(kubectl, "True", "Serving")
    assert kubectl.get("dsvc", "demo")["status"]["revision"] != before


@pytest.mark.usefixtures("kuberay")
def test_a_kuberay_without_tokens_is_given_no_cluster_that_anyone_could_run_code_in(
    control_plane: Kubectl, kubectl: Kubectl, operator: OperatorProcess, kinds: Definitions
) -> None:
    """KubeRay before 1.5 has no authOptions."""
    of_cluster = "spec/properties/rayClusterConfig/properties/authOptions"
    path = f"/spec/versions/0/schema/openAPIV3Schema/properties/{of_cluster}"
    gone = json.dumps([{"op": "remove", "path": path}])
    control_plane("patch", "crd", "rayservices.ray.io", "--type=json", f"--patch={gone}")
    config = {
        "authOptions": {"mode": "token"},
        "headGroupSpec": {"template": {"spec": {"containers": [{"name": "x"}]}}},
    }
    meta = {"name": "try", "namespace": kubectl.namespace}
    tried = {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": meta}
    body = {**tried, "spec": {"rayClusterConfig": config}}

    def is_refused() -> bool:
        try:
            kubectl.create(body, dry_run=True)
        except KubectlError as error:
            return "authOptions" in str(error)
        return False

    eventually(is_refused, within=WITHIN, what="the API server to know the older kind")
    kubectl.apply(diffusion_service(backend="rayserve"))
    eventually(lambda: kubectl.find("service", "demo"), within=WITHIN, what="its children")
    kubectl.apply(diffusion_service(**CLUSTER))
    becomes(kubectl, "False", "KubeRayTooOld")
    assert "1.5" in ready_of(kubectl)["message"]
    assert kubectl.find("rayservice", "demo") is None
    # The former pods still serve.
    assert kubectl.find("deployment", "demo") is not None
    assert kubectl.get("service", "demo")["spec"]["selector"] != HEAD
    kubectl.delete_all("dsvc")
    kinds.remove()  # since the test changed them
