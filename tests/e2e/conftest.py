"""The whole thing: a real node, the real images, the operator installed from its chart.

The cluster is removed after the session unless ``KEEP_CLUSTER`` is set, which makes the next
session start in seconds.

Workers of pytest-xdist share the cluster. Each test has a namespace of its own, and most of them
wait for something most of the time, so that three workers fill two cores. Which of them may run
at the same time is decided here and in ``TOGETHER``:

- Tests that share a service and follow one another are one group, on one worker.
- Whoever kills or stops the operator may do so beside others: they wait for conditions, and an
  operator that comes back is what they may count on anyway. One at a time does it (`OperatorPod`).
- Whoever looks at the node's stand-in GPUs has them for itself (the fixture `gpus`).
- Whoever takes away what all others stand on is marked `alone`: the API server, containerd, the
  operator's release, API kinds that change what the operator makes for everybody. These run when
  all others have ended, one after the other; the look back on the whole run comes last.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from in_cluster import OperatorPod, StandIn, forwarded, namespace
from install import Installed, install
from kubectl import Kubectl, eventually
from shared_run import SharedRun
from unchanged import Passed

ROOT = Path(__file__).parents[2]
CLUSTER = "e2e"
RUN = SharedRun()

Forward = Callable[[str], Any]

# Modules whose tests share a service, and those that have a cluster of their own beside this one.
TOGETHER = ("test_rollouts.py", "test_localcluster.py")
# Long ones first, so that no worker is left with one at the end, and those that compute beside
# those that wait.
FIRST = (
    "test_backends.py-rayserve",
    "test_comparison.py",
    "test_rollouts.py",
    "test_backends.py-litserve",
    "test_backends.py-fastapi",
    "test_localcluster.py",
)
LOCALCLUSTER = "test_localcluster.py"
ALONE_AFTER = 850.0
"""Seconds in which all others have ended: less than a test may take."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "alone: disturbs what all others stand on, so it runs when they have ended"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups, and the order: long ones first, then those alone, the look back on all last."""
    mine = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in mine:
        if (group := _group(item)) is not None:
            item.add_marker(pytest.mark.xdist_group(group))
        if item.path.name == LOCALCLUSTER:
            _leave_out_if_unchanged(config, item)
    items.sort(key=_order)


def _group(item: pytest.Item) -> str | None:
    if item.get_closest_marker("alone"):
        return "alone"
    if backend := _parameters(item).get("backend"):
        return f"{item.path.name}-{backend}"
    if item.path.name in TOGETHER:
        return item.path.name
    return None


def _order(item: pytest.Item) -> tuple[bool, bool, int]:
    alone = item.get_closest_marker("alone") is not None
    name = _group(item) or item.path.name
    place = FIRST.index(name) if name in FIRST else len(FIRST)
    return item.path.name == "test_rights.py", alone, place


def _parameters(item: pytest.Item) -> dict[str, Any]:
    call = getattr(item, "callspec", None)
    return {} if call is None else dict(call.params)


def _leave_out_if_unchanged(config: pytest.Config, item: pytest.Item) -> None:
    """The local cluster's own tests run when it has changed, and whenever all is asked for."""
    if config.option.markexpr == "full":
        item.add_marker(pytest.mark.full)
    elif _passed().has(item.location[2]):
        reason = "localcluster/ is as it was when this passed here last; make test-full runs it"
        item.add_marker(pytest.mark.skip(reason=reason))


def _passed() -> Passed:
    return Passed("localcluster", "localcluster", f"tests/e2e/{LOCALCLUSTER}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed and report.location[0].endswith(LOCALCLUSTER):
        _passed().add(report.location[2])


def pytest_runtest_logfinish(location: tuple[str, int | None, str]) -> None:
    RUN.end(f"{location[0]}::{location[2]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the cluster, once all workers have ended."""
    if hasattr(session.config, "workerinput"):
        return
    if RUN.made("installed") and not os.environ.get("KEEP_CLUSTER"):
        subprocess.run(
            [sys.executable, "-m", "localcluster", "down", "--name", CLUSTER], cwd=ROOT, check=True
        )
    shutil.rmtree(RUN.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def others_have_ended(request: pytest.FixtureRequest) -> None:
    """A test that is marked `alone` waits here for all that are not."""
    if not request.node.get_closest_marker("alone"):
        return
    others = [
        f"{item.location[0]}::{item.location[2]}"
        for item in request.session.items
        # The local cluster's own tests have others, which nothing here disturbs.
        if not item.get_closest_marker("alone") and item.path.name != LOCALCLUSTER
    ]
    eventually(
        lambda: all(map(RUN.is_over, others)),
        within=ALONE_AFTER,
        every=0.5,
        what="all others to end",
    )


@pytest.fixture(scope="session")
def begun() -> float:
    """When the run first used the cluster, in seconds of Unix time."""
    return float(RUN.once("begun", time.time))


@pytest.fixture(scope="session")
def installed(begun: float) -> Installed:
    """The operator on a local cluster of the tests' own."""
    return Installed(**RUN.once("installed", lambda: asdict(install(CLUSTER))))


@pytest.fixture(scope="session")
def cluster(installed: Installed) -> Kubectl:
    return Kubectl(installed.kubectl, installed.kubeconfig)


@pytest.fixture(scope="session")
def stand_in(installed: Installed) -> StandIn:
    """Services of the real serving program that draw nothing, for what isn't about pictures."""

    def image() -> str:
        built = [sys.executable, "tests/support/standin/image.py"]
        name = subprocess.check_output(built, cwd=ROOT, text=True).strip()
        load = [sys.executable, "-m", "localcluster", "load", "--name", CLUSTER, name]
        return subprocess.check_output(load, cwd=ROOT, text=True).strip()

    return StandIn(RUN.once("stand-in", image))


@pytest.fixture
def kubectl(cluster: Kubectl) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own."""
    with namespace(cluster) as kubectl:
        yield kubectl


@pytest.fixture
def operator(cluster: Kubectl, installed: Installed) -> OperatorPod:
    return OperatorPod(cluster, installed, RUN)


@pytest.fixture
def gpus() -> Iterator[None]:
    """Nobody else changes, or looks at, the node's stand-in GPUs meanwhile."""
    with RUN.held("gpus"):
        yield


@pytest.fixture
def forward(kubectl: Kubectl) -> Forward:
    """``with forward("service/demo") as client``: an HTTP client through kubectl port-forward."""
    return lambda target: forwarded(kubectl, target)
