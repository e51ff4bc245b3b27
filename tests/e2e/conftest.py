"""The whole thing: a real node, the real images, the operator installed from its chart.

The cluster is removed after the session unless ``KEEP_CLUSTER`` is set, which makes the next
session start in seconds.

Workers of pytest-xdist share the cluster. Each test has a namespace of its own, and most of them
wait for something most of the time, so that three workers fill two cores. Which of them may run
at the same time is decided here:

- Tests that share a service and follow one another are one group, on one worker.
- Whoever kills or stops the operator may do so beside others: they wait for conditions, and an
  operator that comes back is what they may count on anyway. One at a time does it (`OperatorPod`).
- Whoever looks at the node's stand-in GPUs has them for itself (the fixture `gpus`).
- The modules in `ALONE` take away what all others stand on. They run when all others have ended,
  one after the other; the look back on the whole run comes last.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from groups import ByGroup
from in_cluster import OperatorPod, StandIn, forwarded, namespace
from install import Installed, install
from kubectl import Kubectl, eventually
from shared_run import SharedRun
from unchanged import Passed

ROOT = Path(__file__).parents[2]
CLUSTER = "e2e"
RUN = SharedRun()

Forward = Callable[[str], Any]

# Modules whose tests follow one another.
IN_ORDER = ("test_example.py", "test_rollouts.py", "test_localcluster.py")
BACKENDS = "test_backends.py"
"""Its tests follow one another as well, those of each backend for themselves."""
LOCALCLUSTER = "test_localcluster.py"
# The API server and containerd; kinds that change what the operator makes for everybody; the
# operator's release, its roles included; the look back on all.
ALONE = ("test_chaos.py", "test_options.py", "test_terraform_values.py", "test_rights.py")
# Long ones first, so that no worker is left with one at the end, and those that compute beside
# those that wait. A worker has its next group before it begins: what is behind a comparison, which
# takes longest, is short.
FIRST = (
    "test_backends.py[rayserve]",
    "test_comparison.py",
    "test_failures.py",
    "test_kuberay.py",
    "test_remote_models.py",
    "test_rollouts.py",
    "test_backends.py[litserve]",
    "test_backends.py[fastapi]",
    "test_localcluster.py",
)
ALONE_AFTER = 850.0
"""Seconds in which all others have ended: less than a test may take."""


def group(test: str) -> str:
    """The group of the test with that node id; those of one group are on one worker, in order."""
    name = test.partition("::")[0].rpartition("/")[2]
    if name in ALONE:
        return "alone"
    if name == BACKENDS and (found := re.search(r"\[(fastapi|litserve|rayserve)\b", test)):
        return f"{name}[{found[1]}]"
    return name if name in IN_ORDER else test


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    return ByGroup(config, log, group)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long ones first, then those alone, the look back on the whole run last."""
    for item in items:
        if item.path.name == LOCALCLUSTER:
            _leave_out_if_unchanged(config, item)
    items.sort(key=_order)


def _order(item: pytest.Item) -> tuple[int, int]:
    name = item.path.name
    if name in ALONE:
        return len(FIRST) + 1, ALONE.index(name)
    for place, first in enumerate(FIRST):
        if first in {name, group(item.nodeid)}:
            return place, 0
    return len(FIRST), 0


def _leave_out_if_unchanged(config: pytest.Config, item: pytest.Item) -> None:
    """The local cluster's own tests run when it has changed, and whenever all is asked for."""
    if config.option.markexpr == "full":
        item.add_marker(pytest.mark.full)
    elif _passed().has(item.location[2]):
        reason = "localcluster/ is as it was when this passed here last; make test-full runs it"
        item.add_marker(pytest.mark.skip(reason=reason))


@cache
def _passed() -> Passed:
    """The tests that passed with this content, which is read once a process."""
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
    """A test of `ALONE` waits here for all that are not."""
    if request.path.name not in ALONE:
        return
    others = [
        f"{item.location[0]}::{item.location[2]}"
        for item in request.session.items
        # The local cluster's own tests have others, which nothing here disturbs.
        if item.path.name not in (*ALONE, LOCALCLUSTER)
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
