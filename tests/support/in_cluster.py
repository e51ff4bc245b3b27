"""Actions of the end-to-end tests on a cluster, and conditions that they wait for."""

import base64
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from demo_model.checker import look, read
from demo_model.shapes import parse
from install import Installed
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
from shared_run import SharedRun

ROOT = Path(__file__).parents[2]
STARTED_WITHIN = 300.0
OF_SERVICE = "diffusion.dev/service=demo"
# A small request lets several pods fit on a node of two cores.
SMALL = {"name": "server", "resources": {"requests": {"cpu": "20m"}}}
# A container of the stand-in's image takes about 100 MB.
LITTLE = {"name": "server", "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}}}

RED_CIRCLE = "a red circle"

Object = dict[str, Any]

_names = itertools.count(1)


@contextmanager
def namespace(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a new namespace that admits restricted pods only."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw")
    name = f"e2e-{worker}-{next(_names)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    if cluster.find("namespace", name):  # left by an earlier run on a cluster that was kept
        cluster.delete("namespace", name)
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    )
    yield cluster.in_namespace(name)
    cluster.delete("namespace", name, wait=False)


@contextmanager
def forwarded(kubectl: Kubectl, target: str) -> Iterator[httpx.Client]:
    """An HTTP client of one pod of the target, through kubectl port-forward."""
    process = subprocess.Popen(
        [
            kubectl.program,
            f"--kubeconfig={kubectl.kubeconfig}",
            f"--namespace={kubectl.namespace}",
            "port-forward",
            target,
            ":80",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split(" -> ")[0].split()[-1]
        with httpx.Client(base_url=f"http://{address}", timeout=120) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


class StandIn:
    """Services of the real serving program in the image of ``standin/``, which draws nothing."""

    def __init__(self, image: str) -> None:
        self.image = image

    def service(self, name: str = "demo", *, step_seconds: str = "", **spec: Any) -> Object:
        """The DiffusionService; its ``podTemplate`` may add fields to the pod."""
        pod = dict((spec.pop("podTemplate", None) or {}).get("spec", {}))
        (server,) = pod.pop("containers", [{}])
        container = self.container(step_seconds=step_seconds, **server)
        return diffusion_service(
            name, **spec, podTemplate={"spec": {**pod, "containers": [container]}}
        )

    def container(self, *, step_seconds: str = "", **server: Any) -> Object:
        """The pod's container, with small requests unless ``server`` has others."""
        env = [{"name": "STANDIN_STEP_SECONDS", "value": step_seconds}] if step_seconds else []
        env += server.pop("env", [])
        return {**LITTLE, "image": self.image, **({"env": env} if env else {}), **server}


class OperatorPod:
    """The operator's pod in the cluster; only one test at a time may end it."""

    _SELECTOR = "app.kubernetes.io/name=diffusion-operator"

    def __init__(self, cluster: Kubectl, installed: Installed, run: SharedRun) -> None:
        self._kubectl = cluster.in_namespace(installed.namespace)
        self._deployment = f"deployment/{installed.release}"
        self._run = run

    def kill(self) -> None:
        """Deletes the pod without grace, as if its node were lost."""
        with self._run.held("operator"):
            self._kubectl("delete", "pods", "-l", self._SELECTOR, "--grace-period=0", "--force")
            self._kubectl("rollout", "status", self._deployment, "--timeout=120s")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops the operator for the time of the context."""
        with self._run.held("operator"):
            self._kubectl("scale", self._deployment, "--replicas=0")
            self._kubectl("wait", "--for=delete", "pods", "-l", self._SELECTOR, "--timeout=60s")
            try:
                yield
            finally:
                self._kubectl("scale", self._deployment, "--replicas=1")
                self._kubectl("rollout", "status", self._deployment, "--timeout=120s")

    def log(self) -> str:
        return self._kubectl("logs", self._deployment)


def wait_until_ready(kubectl: Kubectl, name: str = "demo") -> None:
    """Waits until the service is Ready at the generation of its current spec."""

    def is_ready() -> bool:
        service = kubectl.get("dsvc", name)
        ready = condition(service, "Ready")
        current = ready.get("observedGeneration") == service["metadata"]["generation"]
        return bool(current and ready["status"] == "True")

    try:
        eventually(is_ready, within=STARTED_WITHIN, what=f"{name} to be Ready")
    except AssertionError as error:
        raise AssertionError(json.dumps(kubectl.get("dsvc", name), indent=1)) from error


def finished(kubectl: Kubectl, name: str, within: float = 240) -> Object:
    """The LoadTest's status once it has ended."""

    def over() -> Object | None:
        status = kubectl.status("lt", name)
        return status if status.get("state") in {"Complete", "Failed"} else None

    return eventually(over, within=within, every=0.5, what=f"{name} to end")


def requests_so_far(kubectl: Kubectl, name: str) -> int:
    """The number of ended requests of a running LoadTest."""
    status = kubectl.status("lt", name)
    return int((status.get("progress") or {}).get("requests", 0))


def picture(answer: httpx.Response) -> bytes:
    """The first picture of an answer of /predict."""
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["images"][0])


def wrong(answer: httpx.Response, prompt: str) -> list[str]:
    """The differences between the picture and its prompt."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(picture(answer))
        file.flush()
        return look(read(Path(file.name))).differences(parse(prompt))


@contextmanager
def stand_in_gpus(cluster: Kubectl, number: int) -> Iterator[None]:
    """Gives the node that many stand-in GPUs for the time of the context."""

    def offer(count: int) -> None:
        (node,) = cluster.list("nodes")
        capacity = {"status": {"capacity": {"diffusion.dev/standin-gpu": str(count)}}}
        cluster.patch("node", node["metadata"]["name"], capacity, "--subresource=status")

    offer(number)
    try:
        yield
    finally:
        offer(0)


@contextmanager
def settings_of(installed: Installed, *values: str) -> Iterator[None]:
    """Runs the operator with other values of its chart, and restores them afterwards."""

    def helm(*arguments: str) -> None:
        where = [f"--kubeconfig={installed.kubeconfig}", f"--namespace={installed.namespace}"]
        subprocess.run([installed.helm, *where, *arguments], cwd=ROOT, check=True)

    changes = [f"--set={value}" for value in values]
    options = ["--reuse-values", "--wait", "--timeout=3m", *changes]
    helm("upgrade", installed.release, "deploy/chart", *options)
    try:
        yield
    finally:
        helm("rollback", installed.release, "--wait", "--timeout=3m")


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def ask_at_once(client: httpx.Client, count: int) -> None:
    """Sends requests for pictures at once, and asserts that each picture shows its prompt."""
    body = {"prompt": RED_CIRCLE, "seed": 1}
    with ThreadPoolExecutor(count) as threads:
        sent = [threads.submit(client.post, "/predict", json=body) for _ in range(count)]
    assert [wrong(one.result(), RED_CIRCLE) for one in sent] == [[]] * count
