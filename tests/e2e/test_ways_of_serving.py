"""Framework batching on a real node, which the other tests leave out."""

from typing import Any

import pytest

from in_cluster import SMALL, ask_at_once, metric, wait_until_ready
from kubectl import Kubectl
from manifests import diffusion_service

pytestmark = pytest.mark.full

Forward = Any


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
