"""A real control plane with a node that only pretends, and the operator as a process of its own.

There is no kubelet in this tier: where a pod or a runner has to do something, the test plays it
by writing the status or the report that the real one would. The end-to-end tier has the real ones.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl import Kubectl, eventually
from local_prometheus import LocalPrometheus, vector
from operator_process import OperatorProcess
from pretend_node import PretendNode
from service_account import chart, kubeconfig_of_the_operator

ROOT = Path(__file__).parents[2]
_names = itertools.count(1)


def output(command: list[str]) -> str:
    """What the command prints."""
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def control_plane(worker_id: str) -> Iterator[Kubectl]:
    """A control plane of the worker's own, gone after the session."""
    # Two sessions in one checkout, at the same time, need two names.
    name = f"operator-tests-{os.environ.get('OPERATOR_TESTS', '')}{worker_id}"
    localcluster = [sys.executable, "-m", "localcluster"]
    subprocess.run(
        [*localcluster, "up", "--control-plane-only", "--name", name], cwd=ROOT, check=True
    )
    try:
        kubectl = Kubectl(
            output([*localcluster, "tool", "kubectl"]),
            output([*localcluster, "kubeconfig", "--name", name]),
        )
        kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        kubectl("wait", "--for=condition=Established", "crd", "--all")
        node = PretendNode(kubectl)
        yield kubectl
        node.close()
    finally:
        subprocess.run([*localcluster, "down", "--name", name], cwd=ROOT, check=True)


@pytest.fixture
def kubectl(control_plane: Kubectl) -> Kubectl:
    """kubectl in a namespace of the test's own."""
    namespace = f"test-{next(_names)}"
    control_plane.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    own = control_plane.in_namespace(namespace)
    eventually(lambda: own.find("serviceaccount", "default"), what="the namespace to be set up")
    return own


@pytest.fixture(scope="session")
def refusing(control_plane: Kubectl) -> Kubectl:
    """kubectl in one namespace for all that is refused, and so leaves nothing in it."""
    control_plane.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "refusing"}}
    )
    return control_plane.in_namespace("refusing")


@pytest.fixture(scope="session")
def prometheus() -> Iterator[LocalPrometheus]:
    """The Prometheus that the operator knows."""
    found = LocalPrometheus(lambda _: vector())
    yield found
    found.close()


@pytest.fixture(scope="session")
def operator_process(
    control_plane: Kubectl,
    prometheus: LocalPrometheus,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """The operator with the rights that the chart gives it, and no others."""
    directory = tmp_path_factory.mktemp("operator")
    of_chart = chart("diffusion-operator", "default")
    kubeconfig = kubeconfig_of_the_operator(control_plane, of_chart, directory)
    process = OperatorProcess(kubeconfig, directory, prometheus_url=prometheus.url)
    process.start()
    yield process
    process.kill()
    told = process.log.read_text()
    assert "Traceback" not in told
    for line in told.splitlines():
        assert json.loads(line)["severity"], line


@pytest.fixture
def operator(operator_process: OperatorProcess) -> Iterator[OperatorProcess]:
    """The running operator; a test that ended it finds it started again for the next."""
    yield operator_process
    if not operator_process.running:
        operator_process.start()


@pytest.fixture(scope="module")
def alone(operator_process: OperatorProcess) -> Iterator[None]:
    """The session's operator, which knows no Lease, is held still: a start takes seconds."""
    if not operator_process.running:
        operator_process.start()
    with operator_process.paused():
        yield
