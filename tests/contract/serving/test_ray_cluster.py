"""One Ray cluster of a head and workers, each a process of the program.

The tests follow one another: a worker joins, one leaves, and the head is lost.
"""

import json
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from diffusion_operator.diffusionservice.specs.ray_service import SERVE_CONFIG
from ports import free_port
from serving_process import START_SECONDS, Server, Variant, configuration, eventually, living

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


TOKEN = secrets.token_hex(32)


@dataclass
class Cluster:
    start: Callable[[str], Server]
    head: Server
    workers: list[Server]
    dashboard: str


@pytest.fixture(scope="module")
def cluster(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head and one worker, both ready."""
    port, dashboard = free_port(), free_port()
    environ = {
        **configuration(tiny_model, Variant("rayserve"), rayserve={"topology": "cluster"}),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "DIFFUSION_RAY_ADDRESS": "127.0.0.1",
        "DIFFUSION_RAY_HEAD": f"127.0.0.1:{port}",
        "DIFFUSION_RAY_DASHBOARD": str(dashboard),
    }
    with ExitStack() as ends:

        def start(role: str) -> Server:
            server = Server(tmp_path_factory.mktemp(role), {**environ, "DIFFUSION_RAY_ROLE": role})
            ends.callback(server.end)
            return server

        # A worker may start before its head, and must wait for it.
        worker, head = start("worker"), start("head")
        url = f"http://127.0.0.1:{dashboard}/api/serve/applications/"
        yield Cluster(start, head.ready(2 * START_SECONDS), [worker.ready()], url)


def test_head_answers_with_what_its_worker_makes(cluster: Cluster) -> None:
    head = cluster.head
    images = head.metric("diffusion_images_total")
    answer = head.predict(prompt="x", seed=7)
    assert answer.status_code == 200, answer.text
    assert head.metric("diffusion_images_total") == images + 1
    assert head.client.get("/about").json()["backend"] == "rayserve"
    assert head.client.get("/healthz").json() == {"status": "alive"}


def test_kuberay_finds_its_applications_running_and_its_update_restarts_nothing(
    cluster: Cluster,
) -> None:
    """KubeRay's own requests: the query, and the update with a RayService's `serveConfigV2`."""
    assert httpx.get(cluster.dashboard).status_code == 401
    images = cluster.head.metric("diffusion_images_total")
    with httpx.Client(headers={"x-ray-authorization": f"Bearer {TOKEN}"}, timeout=60) as kuberay:

        def running() -> dict[str, str]:
            answer = kuberay.get(cluster.dashboard, params={"api_type": "declarative"})
            applications = answer.json()["applications"]
            return {name: application["status"] for name, application in applications.items()}

        assert running() == {"diffusion": "RUNNING", "head": "RUNNING"}
        answer = kuberay.put(cluster.dashboard, json=json.loads(SERVE_CONFIG))
        assert answer.status_code == 200, answer.text
        eventually(lambda: running() == {"diffusion": "RUNNING", "head": "RUNNING"})
    assert cluster.head.client.get("/-/healthz").status_code == 200
    assert cluster.head.predict(prompt="x", seed=7).status_code == 200
    # A restarted replica would count from 0.
    assert cluster.head.metric("diffusion_images_total") == images + 1


def test_worker_answers_its_probes_alone(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    assert worker.client.get("/healthz").json() == {"status": "alive"}
    assert worker.client.get("/readyz").json() == {"status": "ready"}
    assert worker.client.get("/about").status_code == 404


def test_worker_that_joins_makes_the_same_images(cluster: Cluster) -> None:
    head = cluster.head
    cluster.workers.append(cluster.start("worker").ready())
    eventually(lambda: head.metric("diffusion_ready") == 2)
    answers = [head.predict(prompt="x", seed=7) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["images"][0] for answer in answers}) == 1


def test_worker_that_leaves_under_load_fails_no_request(cluster: Cluster) -> None:
    leaving = cluster.workers.pop(0)
    end = threading.Event()
    failures: list[str] = []

    def user(number: int) -> None:
        with httpx.Client(base_url=cluster.head.url, timeout=120) as client:
            while not end.is_set():
                answer = client.post("/predict", json={"prompt": "x", "seed": number, "steps": 20})
                if answer.status_code != 200:
                    failures.append(answer.text)

    users = [threading.Thread(target=user, args=(number,)) for number in range(4)]
    for one in users:
        one.start()
    family = leaving.family
    leaving.process.send_signal(signal.SIGTERM)
    try:
        assert leaving.process.wait(START_SECONDS) == 0, leaving.output.read_text()
        eventually(lambda: cluster.head.metric("diffusion_ready") == 1)
    finally:
        end.set()
        for one in users:
            one.join()
    assert failures == []
    assert not living(family)


def test_workers_end_when_their_head_is_lost(cluster: Cluster) -> None:
    (worker,) = cluster.workers
    family = cluster.head.family
    os.kill(cluster.head.process.pid, signal.SIGKILL)
    assert worker.process.wait(START_SECONDS) == 78, worker.output.read_text()
    assert json.loads(worker.termination.read_text())["reason"] == "HeadLost"
    eventually(lambda: not living(family - {cluster.head.process.pid}))
