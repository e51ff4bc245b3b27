"""Disturbances around a service under load: no request fails, and the status recovers."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from control_plane_parts import api_server_pid, compact_etcd, kill_api_server, server_pids
from in_cluster import OperatorPod, StandIn, finished, requests_so_far, wait_until_ready
from install import Installed
from kubectl import Kubectl, KubectlError, condition, eventually
from manifests import load_test
from steady_load import RECOVERED_WITHIN, STEADY, Load

# A request that waits for a frozen pod is late, not lost.
FROZEN_SECONDS = 10
# The local cluster's kubelet reads a pod's Secrets every 5 to 8 seconds, and would not notice a
# shorter absence.
SECRET_AWAY_SECONDS = 20.0
KEYS = "api-keys"
Forward = Callable[[str], Any]
ROOT = Path(__file__).parents[2]
CLUSTER = "e2e"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": KEYS},
    "stringData": {"keys": "one-key"},
}
QUICK = {"steps": 1, "guidanceScale": "1", "scheduler": "ddim"}


@pytest.fixture
def load(kubectl: Kubectl, stand_in: StandIn) -> Iterator[Load]:
    """Two replicas with a key, under a small steady load; no request may have failed at the end."""
    reference = {"apiKeySecretRef": {"name": KEYS, "key": "keys"}}
    kubectl.apply(SECRET)
    kubectl.apply(stand_in.service(replicas=2, auth=reference))
    wait_until_ready(kubectl)
    kubectl.apply(load_test(**STEADY, auth=reference))
    load = Load(kubectl)
    load.goes_on()
    yield load
    load.goes_on()
    wait_until_ready(kubectl)
    status = kubectl.status("dsvc", "demo")
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    load.assert_none_failed()


def replicas_answer(kubectl: Kubectl, besides: str = "") -> bool:
    """Whether two pods other than that one are Ready."""
    try:
        pods = kubectl.list("pods", "diffusion.dev/service=demo")
    except KubectlError:
        return False
    names = [pod["metadata"]["name"] for pod in pods
             if condition(pod, "Ready").get("status") == "True"]  # fmt: skip
    return len(names) == 2 and besides not in names


def a_pod(kubectl: Kubectl) -> str:
    """A pod that isn't about to end."""
    pods = [pod["metadata"] for pod in kubectl.list("pods", "diffusion.dev/service=demo")]
    return str(min(meta["name"] for meta in pods if "deletionTimestamp" not in meta))


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
def test_no_disturbance_around_the_service_fails_a_request(
    kubectl: Kubectl, cluster: Kubectl, operator: OperatorPod, load: Load, kills: int
) -> None:
    moments = random.Random(kills)
    for _ in range(kills):
        load.goes_on(moments.randint(1, 8))
        operator.kill()

    lost = a_pod(kubectl)
    kubectl.delete("pod", lost, wait=False)
    eventually(lambda: replicas_answer(kubectl, lost), within=RECOVERED_WITHIN, what="another pod")

    before = kill_api_server(cluster.kubeconfig)
    eventually(
        lambda: api_server_pid(cluster.kubeconfig) not in {None, before},
        within=RECOVERED_WITHIN,
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

    with secret_away(kubectl, load):
        frozen = server_pids(a_pod(kubectl))
        assert frozen
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(FROZEN_SECONDS)  # the length of the disturbance, not a wait for its end
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        eventually(lambda: replicas_answer(kubectl), within=RECOVERED_WITHIN, what="both replicas")


@contextmanager
def secret_away(kubectl: Kubectl, load: Load) -> Iterator[None]:
    """Takes the Secret of the keys away for the time of the context, and for long enough."""
    since = time.monotonic()
    kubectl.delete("secret", KEYS)
    yield
    load.goes_on_for(SECRET_AWAY_SECONDS - (time.monotonic() - since))
    kubectl.apply(SECRET)


def test_three_workers_carry_a_load_through_a_restart_of_the_container_runtime(
    kubectl: Kubectl, installed: Installed, forward: Forward, stand_in: StandIn, tmp_path: Path
) -> None:
    kubectl.apply(stand_in.service(generation=QUICK))
    wait_until_ready(kubectl)
    kubectl.apply(load_test(workers=3, users={"stages": [{"users": 6, "duration": "20s"}]}))
    eventually(lambda: requests_so_far(kubectl, "ramp"), within=90, what="load")
    restart = ["restart", "containerd", "--name", CLUSTER]
    subprocess.run([sys.executable, "-m", "localcluster", *restart], cwd=ROOT, check=True)
    status = finished(kubectl, "ramp")
    summary = status["summary"]
    assert (status["state"], summary["failures"], summary["maxUsers"]) == ("Complete", 0, 6), status
    with forward("service/demo") as server:
        text = server.get("/metrics").text
    samples = re.findall(r"^diffusion_requests_total\{([^}]*)\} (\d+)", text, re.MULTILINE)
    served = sum(int(count) for labels, count in samples if "/predict" in labels)
    assert summary["requests"] == served

    page, image = tmp_path / "report.html", tmp_path / "circle.png"
    plugin(installed, kubectl, "report", "lt/ramp", "--output", str(page))
    assert page.read_text().startswith("<!doctype html>")
    plugin(installed, kubectl, "predict", "demo", "a red circle", "--output", str(image))
    assert image.read_bytes().startswith(b"\x89PNG")

    kubectl.delete("configmap", status["reportRef"]["name"])
    eventually(
        lambda: (
            condition(kubectl.get("lt", "ramp"), "ReportAvailable").get("reason") == "ReportMissing"
        ),
        what="the loss",
    )
    assert kubectl.status("lt", "ramp")["summary"] == summary


def plugin(installed: Installed, kubectl: Kubectl, *arguments: str) -> None:
    """Runs ``kubectl diffusion`` as kubectl would."""
    at = [f"--kubeconfig={installed.kubeconfig}", f"--namespace={kubectl.namespace}"]
    subprocess.run([sys.executable, "-m", "kubectl_diffusion", *arguments, *at], check=True)
