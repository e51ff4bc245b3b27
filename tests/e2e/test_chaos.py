"""What breaks around a service under load: no request fails, and the status ends true."""

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest

from control_plane_parts import api_server_pid, compact_etcd, kill_api_server, server_pids
from in_cluster import OperatorPod, wait_until_ready
from kubectl import Kubectl, KubectlError, condition, eventually
from manifests import diffusion_service, load_test

# Longer than any disturbance takes to mend; the test ends it when it has seen enough.
LOAD = {"stages": [{"users": 2, "duration": "3600s"}], "spawnRate": "2"}
THINK = {"min": "200ms", "max": "600ms"}
# A request that waits for a frozen pod is late, not lost.
FROZEN_SECONDS = 10
MENDED_WITHIN = 180.0
REQUESTS_AFTER = 5
KEYS = "api-keys"


class Load:
    """The load on the service, and what came of it so far."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def progress(self) -> tuple[int, int]:
        """Requests, and how many of them failed."""
        try:
            found = self._kubectl.status("lt", "ramp").get("progress") or {}
        except KubectlError:  # the API server is away
            return 0, 0
        return int(found.get("requests", 0)), int(found.get("failures", 0))

    def goes_on(self, requests: int = REQUESTS_AFTER) -> None:
        """Wait for that many more requests."""
        before, _ = eventually(
            lambda: found if (found := self.progress())[0] else None,
            within=MENDED_WITHIN,
            every=0.5,
            what="load",
        )
        eventually(
            lambda: self.progress()[0] >= before + requests,
            within=MENDED_WITHIN,
            every=0.5,
            what=f"{requests} more requests than {before}",
        )


@pytest.fixture
def load(kubectl: Kubectl) -> Iterator[Load]:
    """Two replicas with a key, under a small steady load; afterwards no request has failed."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEYS},
        "stringData": {"keys": "one-key"},
    }
    reference = {"apiKeySecretRef": {"name": KEYS, "key": "keys"}}
    kubectl.apply(secret)
    kubectl.apply(diffusion_service(replicas=2, auth=reference))
    wait_until_ready(kubectl)
    kubectl.apply(load_test(users=LOAD, think=THINK, auth=reference))
    load = Load(kubectl)
    load.goes_on()
    yield load
    load.goes_on()
    wait_until_ready(kubectl)
    status = kubectl.status("dsvc", "demo")
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    # Not the progress alone: a run that has ended, however, has none.
    test = kubectl.status("lt", "ramp")
    assert test["state"] == "Running", test
    assert test["progress"]["failures"] == 0, test


def replicas_answer(kubectl: Kubectl, besides: str = "") -> bool:
    """Whether two pods are ready, none of them that one."""
    try:
        pods = kubectl.list("pods", "diffusion.dev/service=demo")
    except KubectlError:
        return False
    names = [pod["metadata"]["name"] for pod in pods
             if condition(pod, "Ready").get("status") == "True"]  # fmt: skip
    return len(names) == 2 and besides not in names


def a_pod(kubectl: Kubectl) -> str:
    found = kubectl.list("pods", "diffusion.dev/service=demo")
    return str(min(pod["metadata"]["name"] for pod in found))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
def test_whatever_breaks_around_it_no_request_fails(
    kubectl: Kubectl, cluster: Kubectl, operator: OperatorPod, load: Load, kills: int
) -> None:
    moments = random.Random(kills)
    for _ in range(kills):
        load.goes_on(moments.randint(1, 8))
        operator.kill()

    lost = a_pod(kubectl)
    kubectl("delete", "pod", lost, "--wait=false")
    eventually(lambda: replicas_answer(kubectl, lost), within=MENDED_WITHIN, what="another pod")

    before = kill_api_server(cluster.kubeconfig)
    eventually(
        lambda: api_server_pid(cluster.kubeconfig) not in {None, before},
        within=MENDED_WITHIN,
        what="another API server",
    )
    load.goes_on()
    compact_etcd(cluster.kubeconfig)
    load.goes_on()

    (node,) = cluster.list("nodes")
    name = node["metadata"]["name"]
    cluster("cordon", name)
    try:
        load.goes_on()
    finally:
        cluster("uncordon", name)

    kubectl("delete", "secret", KEYS)
    load.goes_on()
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": KEYS},
            "stringData": {"keys": "one-key"},
        }
    )

    frozen = server_pids(a_pod(kubectl))
    assert frozen
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(FROZEN_SECONDS)  # it is the length of the disturbance, not a wait for its end
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    eventually(lambda: replicas_answer(kubectl), within=MENDED_WITHIN, what="both replicas")
