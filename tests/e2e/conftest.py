"""The whole thing: a real node, the real images, the operator installed from its chart.

The cluster is removed after the session unless ``KEEP_CLUSTER`` is set, which makes the next
session start in seconds.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from in_cluster import OperatorPod, forwarded, namespace
from install import Installed, install
from kubectl import Kubectl

ROOT = Path(__file__).parents[2]
CLUSTER = "e2e"

Forward = Callable[[str], Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back on the whole run comes last."""
    last = Path(__file__).parent / "test_rights.py"
    items.sort(key=lambda item: item.path == last)


@pytest.fixture(scope="session")
def begun() -> float:
    """When the session first used the cluster, in seconds of Unix time."""
    return time.time()


@pytest.fixture(scope="session")
def installed(begun: float) -> Iterator[Installed]:
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
    """kubectl in a namespace of the test's own."""
    with namespace(cluster) as kubectl:
        yield kubectl


@pytest.fixture
def operator(cluster: Kubectl, installed: Installed) -> OperatorPod:
    return OperatorPod(cluster, installed)


@pytest.fixture
def forward(kubectl: Kubectl) -> Forward:
    """``with forward("service/demo") as client``: an HTTP client through kubectl port-forward."""
    return lambda target: forwarded(kubectl, target)
