"""What the other tests of a real node leave out: a framework's own batches, and one Ray cluster."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from in_cluster import OF_SERVICE, SMALL, ready_reason, wait_until_ready, wrong
from kubectl import Kubectl, eventually
from manifests import diffusion_service

pytestmark = pytest.mark.full

Forward = Any
PROMPT = "a red circle"


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def ask_at_once(client: httpx.Client, count: int) -> None:
    """Asks for pictures, each of which must show what was asked for."""
    body = {"prompt": PROMPT, "seed": 1}
    with ThreadPoolExecutor(count) as threads:
        asked = [threads.submit(client.post, "/predict", json=body) for _ in range(count)]
    assert [wrong(one.result(), PROMPT) for one in asked] == [[]] * count


@pytest.mark.parametrize("backend", ["litserve", "rayserve"])
def test_framework_forms_its_own_batches(kubectl: Kubectl, forward: Forward, backend: str) -> None:
    batching = {"mode": "framework", "maxSize": 8, "maxWaitMilliseconds": 500}
    pod = {"spec": {"containers": [SMALL]}}
    kubectl.apply(diffusion_service(backend=backend, batching=batching, podTemplate=pod))
    wait_until_ready(kubectl)
    with forward("service/demo") as client:
        assert client.get("/about").json()["batching"]["mode"] == "framework"
        ask_at_once(client, 8)
        assert metric(client, "diffusion_batch_size_sum") == 8
        assert metric(client, "diffusion_batch_size_count") < 8


def test_one_ray_cluster_serves_from_its_workers_and_outlives_the_loss_of_each_of_its_pods(
    kubectl: Kubectl, forward: Forward
) -> None:
    kubectl.apply(
        diffusion_service(
            backend="rayserve",
            replicas=2,
            rayserve={"topology": "cluster"},
            podTemplate={"spec": {"containers": [SMALL]}},
        )
    )
    wait_until_ready(kubectl)
    with forward("service/demo") as client:
        eventually(lambda: metric(client, "diffusion_ready") == 2, within=60, what="both workers")
        ask_at_once(client, 8)
        lose(kubectl, OF_SERVICE)
        eventually(lambda: metric(client, "diffusion_ready") == 1, within=120, what="the loss")
        ask_at_once(client, 4)
        eventually(lambda: metric(client, "diffusion_ready") == 2, within=300, what="another")
        kubectl("scale", "dsvc/demo", "--replicas=1")
        eventually(lambda: metric(client, "diffusion_ready") == 1, within=120, what="one less")
        ask_at_once(client, 4)
    wait_until_ready(kubectl)
    lose(kubectl, "diffusion.dev/ray-head=demo")
    eventually(lambda: ready_reason(kubectl) == "HeadLost", within=60, what="the loss to be said")
    wait_until_ready(kubectl)
    with forward("service/demo") as client:
        ask_at_once(client, 4)


def lose(kubectl: Kubectl, selector: str) -> None:
    """Delete the first pod of the selector without grace, as when its node is lost."""
    name = kubectl.list("pods", selector)[0]["metadata"]["name"]
    kubectl("delete", "pod", name, "--grace-period=0", "--force")
