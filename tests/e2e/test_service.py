"""DiffusionServices on a real node: the example as it is read, and what may happen to a service."""

import concurrent.futures
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from in_cluster import (
    OperatorPod,
    StandIn,
    forwarded,
    namespace,
    picture,
    ready_reason,
    stand_in_gpus,
    wait_until_ready,
    wrong,
)
from kubectl import Kubectl, eventually
from manifests import diffusion_service

Object = dict[str, Any]
Forward = Any
CHILDREN = ("deployment", "service", "serviceaccount", "replicaset", "pod")


@pytest.fixture(scope="module")
def example(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a namespace where the example was applied and became Ready."""
    with namespace(cluster) as kubectl:
        kubectl("apply", "-f", "examples/diffusionservice.yaml")
        wait_until_ready(kubectl)
        yield kubectl


@pytest.fixture
def served(example: Kubectl) -> Iterator[httpx.Client]:
    with forwarded(example, "service/demo") as client:
        yield client


@pytest.mark.xdist_group("example")
def test_the_example_draws_what_the_prompt_asks_for(example: Kubectl, served: httpx.Client) -> None:
    prompts = ["a red circle on a blue background", "two green squares", "a black cross on pink"]
    for seed, prompt in enumerate(prompts):
        answer = served.post("/predict", json={"prompt": prompt, "seed": seed})
        assert wrong(answer, prompt) == []
    about = served.get("/about").json()
    again = [served.post("/predict", json={"prompt": prompts[0], "seed": 7}) for _ in "ab"]
    assert (about["backend"], about["device"]) == ("fastapi", "cpu")
    assert about["revision"] == example.get("dsvc", "demo")["status"]["revision"]
    assert picture(again[0]) == picture(again[1])


@pytest.mark.xdist_group("example")
def test_many_requests_at_once_are_answered_each_with_its_own_picture(
    served: httpx.Client,
) -> None:
    prompts = [f"a {colour} {shape}" for colour in ("red", "blue", "green", "black")
               for shape in ("circle", "square", "triangle")]  # fmt: skip
    with concurrent.futures.ThreadPoolExecutor(len(prompts)) as pool:
        asked = [{"prompt": prompt, "seed": number} for number, prompt in enumerate(prompts)]
        answers = list(pool.map(lambda body: served.post("/predict", json=body), asked))
    right = sum(not wrong(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True))
    # The model itself draws about one in twenty wrong; a swapped picture would show in many.
    assert right >= len(prompts) - 2


def test_an_identity_in_the_cloud_is_given_and_taken_back(kubectl: Kubectl) -> None:
    def annotations() -> Object:
        found = kubectl.find("serviceaccount", "demo")
        return found["metadata"]["annotations"] if found else {}

    identity = {"cloud.test/identity": "painter"}
    # Suspended: no pod has to start for this.
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
    eventually(lambda: ready_reason(kubectl) == "InsufficientGPU", within=60, what="the lack")
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
    # What a node pool with L4s looks like to the scheduler; there is none behind it.
    cluster("label", "node", name, "cloud.google.com/gke-accelerator=nvidia-l4")
    capacity = {"status": {"capacity": {"nvidia.com/gpu": "1"}}}
    cluster.patch("node", name, capacity, "--subresource=status")
    try:
        eventually(lambda: ready_reason(kubectl) == "WrongDevice", within=120, what="the refusal")
    finally:
        capacity["status"]["capacity"]["nvidia.com/gpu"] = "0"
        cluster.patch("node", name, capacity, "--subresource=status")
        cluster("label", "node", name, "cloud.google.com/gke-accelerator-")
