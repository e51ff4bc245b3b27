"""A real control plane with a pretend node, and the operator as a process.

This tier has no kubelet. A test plays the kubelet or the runner by writing the status or the report
that the real one would write. The end-to-end tier has the real ones.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from kubectl import Kubectl, eventually
from local_prometheus import LocalPrometheus, vector
from operator_process import OperatorProcess
from pretend_node import PretendNode
from service_account import chart, kubeconfig_of_the_operator

ROOT = Path(__file__).parents[2]
_names = itertools.count(1)


LOG_CHARACTERS = 6000
"""Length of the log's end that a failed test shows."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the end of the log of each of the test's operators to the report of a failure."""
    report = yield
    if report.failed:
        for name, value in item.funcargs.items():
            if isinstance(value, OperatorProcess) and value.log.exists():
                report.sections.append((f"log of {name}", value.log.read_text()[-LOG_CHARACTERS:]))
    return report


def output(command: list[str]) -> str:
    """The output of the command."""
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def control_plane(worker_id: str) -> Iterator[Kubectl]:
    """The worker's own control plane, which is removed after the session."""
    # Two sessions that run in one checkout at the same time need two names.
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
    """kubectl in one namespace for all refused objects, which leave nothing in it."""
    control_plane.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "refusing"}}
    )
    return control_plane.in_namespace("refusing")


@pytest.fixture(scope="session")
def prometheus() -> Iterator[LocalPrometheus]:
    """The Prometheus server in the operator's settings."""
    server = LocalPrometheus(lambda _: vector())
    yield server
    server.close()


@pytest.fixture(scope="session")
def operator_process(
    control_plane: Kubectl,
    prometheus: LocalPrometheus,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OperatorProcess]:
    """The operator, with the chart's rights only."""
    directory = tmp_path_factory.mktemp("operator")
    of_chart = chart("diffusion-operator", "default")
    kubeconfig = kubeconfig_of_the_operator(control_plane, of_chart, directory)
    process = OperatorProcess(kubeconfig, directory, prometheus_url=prometheus.url)
    process.start()
    yield process
    process.kill()
    text = process.log.read_text()
    assert "Traceback" not in text
    for line in text.splitlines():
        assert json.loads(line)["severity"], line


@pytest.fixture
def operator(operator_process: OperatorProcess) -> Iterator[OperatorProcess]:
    """The running operator, started again after a test that ended it."""
    yield operator_process
    if not operator_process.running:
        operator_process.start()


@pytest.fixture(scope="module")
def alone(operator_process: OperatorProcess) -> Iterator[None]:
    """Pauses the session's operator, which uses no Lease; a restart would take seconds."""
    if not operator_process.running:
        operator_process.start()
    with operator_process.paused():
        yield
