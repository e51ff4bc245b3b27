"""The whole thing: a real node, the real images, the operator installed from its chart.

The cluster is removed after the session unless ``KEEP_CLUSTER`` is set, which makes the next
session start in seconds.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from in_cluster import OperatorPod
from install import Installed, install
from kubectl import Kubectl

ROOT = Path(__file__).parents[2]
CLUSTER = "e2e"

Forward = Callable[[str], Any]
_names = itertools.count(1)


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """The operator on a local cluster of the tests' own."""
    yield install(CLUSTER)
    if not os.environ.get("KEEP_CLUSTER"):
        subprocess.run(
            [sys.executable, "-m", "localcluster", "down", "--name", CLUSTER], cwd=ROOT, check=True
        )


@pytest.fixture(scope="session")
def cluster(installed: Installed) -> Kubectl:
    return Kubectl(installed.kubectl, installed.kubeconfig)


@pytest.fixture
def kubectl(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own, where only restricted pods are admitted."""
    name = f"e2e-{next(_names)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster("delete", "namespace", name, "--ignore-not-found")
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    )
    yield cluster.in_namespace(name)
    cluster("delete", "namespace", name, "--wait=false")


@pytest.fixture
def operator(cluster: Kubectl, installed: Installed) -> OperatorPod:
    return OperatorPod(cluster, installed)


@pytest.fixture
def forward(kubectl: Kubectl) -> Forward:
    """``with forward("service/demo") as client``: an HTTP client through kubectl port-forward."""

    @contextmanager
    def forwarded(target: str) -> Iterator[httpx.Client]:
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
            with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
                yield client
        finally:
            process.terminate()
            process.wait()

    return forwarded
