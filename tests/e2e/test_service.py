"""Events in the life of a DiffusionService on a real node."""

from typing import Any

from in_cluster import (
    OperatorPod,
    StandIn,
    stand_in_gpus,
    wait_until_ready,
)
from kubectl import Kubectl, eventually
from manifests import diffusion_service
from served import ready_reason

Object = dict[str, Any]
Forward = Any
CHILDREN = ("deployment", "service", "serviceaccount", "replicaset", "pod")


def test_an_identity_in_the_cloud_is_given_and_taken_back(kubectl: Kubectl) -> None:
    def annotations() -> Object:
        account = kubectl.find("serviceaccount", "demo")
        return account["metadata"]["annotations"] if account else {}

    identity = {"cloud.test/identity": "painter"}
    # A suspended service needs no pod for this.
    kubectl.apply(diffusion_service(suspend=True, serviceAccount={"annotations": identity}))
    eventually(lambda: identity.items() <= annotations().items(), what="the identity")
    kubectl.patch("dsvc", "demo", {"spec": {"serviceAccount": None}})
    eventually(lambda: not identity.keys() & annotations().keys(), what="the identity to go")


def test_an_operator_killed_in_the_middle_of_a_rollout_finishes_it(
    kubectl: Kubectl, operator: OperatorPod, stand_in: StandIn
) -> None:
    kubectl.apply(stand_in.service())
    wait_until_ready(kubectl)
    first = kubectl.get("dsvc", "demo")["status"]["revision"]
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 6}}})
    eventually(
        lambda: len(kubectl.list("pods", "diffusion.dev/service=demo")) == 2, what="the new pod"
    )
    operator.kill()
    wait_until_ready(kubectl)
    assert kubectl.get("dsvc", "demo")["status"]["revision"] != first


def test_deleted_while_the_operator_is_down_it_leaves_nothing_behind(
    kubectl: Kubectl, operator: OperatorPod, stand_in: StandIn
) -> None:
    kubectl.apply(stand_in.service())
    wait_until_ready(kubectl)
    with operator.stopped():
        kubectl("delete", "dsvc", "demo", "--timeout=10s")
        mine = "app.kubernetes.io/instance=demo"
        eventually(
            lambda: not any(kubectl.list(kind, mine) for kind in CHILDREN),
            within=120,
            what="no child left",
        )


def test_a_stand_in_gpu_places_the_pod_and_a_missing_one_is_named(
    cluster: Kubectl, kubectl: Kubectl, stand_in: StandIn, gpus: None
) -> None:
    kubectl.apply(stand_in.service(gpu={"type": "standin"}))
    eventually(
        lambda: ready_reason(kubectl) == "InsufficientGPU", within=60, what="the missing GPU"
    )
    with stand_in_gpus(cluster, 1):
        wait_until_ready(kubectl)
        (pod,) = kubectl.list("pods", "diffusion.dev/service=demo")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["diffusion.dev/standin-gpu"] == "1"


def test_a_cuda_service_on_a_machine_without_cuda_is_never_ready(
    cluster: Kubectl, kubectl: Kubectl, stand_in: StandIn
) -> None:
    (node,) = cluster.list("nodes")
    name = node["metadata"]["name"]
    kubectl.apply(stand_in.service(gpu={"type": "nvidia-l4"}))
    eventually(lambda: ready_reason(kubectl) == "NoMatchingNode", within=60, what="no such node")
    # To the scheduler the node now looks like one of a pool with L4s.
    cluster("label", "node", name, "cloud.google.com/gke-accelerator=nvidia-l4")
    capacity = {"status": {"capacity": {"nvidia.com/gpu": "1"}}}
    cluster.patch("node", name, capacity, "--subresource=status")
    try:
        eventually(lambda: ready_reason(kubectl) == "WrongDevice", within=120, what="the refusal")
    finally:
        capacity["status"]["capacity"]["nvidia.com/gpu"] = "0"
        cluster.patch("node", name, capacity, "--subresource=status")
        cluster("label", "node", name, "cloud.google.com/gke-accelerator-")
