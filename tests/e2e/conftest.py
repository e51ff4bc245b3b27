"""The whole product: a real node, the real images, the operator installed from its chart.

The cluster is removed after the session unless ``KEEP_CLUSTER`` is set, which makes the next
session start in seconds.

Workers of pytest-xdist share the cluster. Each test has a namespace of its own. Most tests wait for
something most of the time, so that four workers fill two cores. This module decides which tests
may run at the same time:

- Tests that share a service and follow one another are one group, on one worker.
- A test may kill or stop the operator beside others, since they wait for conditions, which the
  restarted operator fulfils. Only one test at a time does it (`OperatorPod`).
- A test of the node's stand-in GPUs has them for itself (the fixture `gpus`).
- The modules in `ALONE` disturb parts that all others need. The tests in them run one after another
  when all others have ended; the check of the whole run comes last.
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
from local_clusters import Silent
from localcluster import programs
from localcluster.paths import Cache
from shared_run import SharedRun
from unchanged import Passed

ROOT = Path(__file__).parents[2]
CLUSTER = "e2e"
RUN = SharedRun()

Forward = Callable[[str], Any]

# Modules whose tests follow one another. Two comparisons would measure each other.
IN_ORDER = ("test_comparison.py", "test_example.py", "test_rollouts.py")
BACKENDS = "test_backends.py"
"""A module whose tests follow one another too, separately for each backend."""
LOCALCLUSTER = ("test_localcluster.py", "test_localcluster_ends.py")
"""Modules of one group, since their tests measure times of the whole machine."""
# No autoscaler runs here, and each rollout of the tests would be longer by these times.
VALUES = (
    "rollouts.minReadySeconds=1",
    "rollouts.scaleUpGraceSeconds=1",
    # A crowd of users comes beside a steady load.
    "maxConcurrentLoadTests=2",
)
# These disturb the API server and containerd; install kinds that change the children of every
# service; replace the operator's release with its roles; check the rights over the whole run.
ALONE = ("test_chaos.py", "test_options.py", "test_terraform_values.py", "test_rights.py")
# Long groups come first, so that none of them runs alone at the end, and groups that compute run
# beside groups that wait. A worker receives its next group in advance: the group behind KubeRay's
# single test is short.
FIRST = (
    "test_comparison.py",
    "test_backends.py[rayserve]",
    "test_rollouts.py",
    "test_kuberay.py",
    "test_failures.py",
    "test_backends.py[litserve]",
    "test_backends.py[fastapi]",
    "test_remote_models.py",
    "localcluster",
)
ALONE_AFTER = 850.0
"""Seconds in which all others have ended; less than a test's timeout."""


def group(test: str) -> str:
    """The group of the test with that node id; one worker runs a group, in order."""
    name = test.partition("::")[0].rpartition("/")[2]
    if name in ALONE:
        return "alone"
    if name == BACKENDS and (backend := re.search(r"\[(fastapi|litserve|rayserve)\b", test)):
        return f"{name}[{backend[1]}]"
    if name in LOCALCLUSTER:
        return "localcluster"
    return name if name in IN_ORDER else test


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    return ByGroup(config, log, group)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts long tests first, the modules in `ALONE` last, and the check of the run after them."""
    for item in items:
        if item.path.name in LOCALCLUSTER:
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
    """Skips a test of the local cluster if it passed with the same files, except in a full run."""
    if config.option.markexpr == "full":
        item.add_marker(pytest.mark.full)
    elif _passed().has(item.location[2]):
        reason = "this passed here with the same localcluster/; make test-full runs it again"
        item.add_marker(pytest.mark.skip(reason=reason))


@cache
def _passed() -> Passed:
    """The tests that passed with the present content, which each process reads once."""
    modules = (f"tests/e2e/{name}" for name in LOCALCLUSTER)
    return Passed("localcluster", "localcluster", "tests/support/local_clusters.py", *modules)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed and report.location[0].endswith(LOCALCLUSTER):
        _passed().add(report.location[2])


def pytest_runtest_logfinish(location: tuple[str, int | None, str]) -> None:
    RUN.end(f"{location[0]}::{location[2]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Removes the cluster, once all workers have ended."""
    if hasattr(session.config, "workerinput"):
        return
    if RUN.made("installed") and not os.environ.get("KEEP_CLUSTER"):
        subprocess.run(
            [sys.executable, "-m", "localcluster", "down", "--name", CLUSTER], cwd=ROOT, check=True
        )
    shutil.rmtree(RUN.folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def others_have_ended(request: pytest.FixtureRequest) -> None:
    """Makes a test of `ALONE` wait for all tests of other modules."""
    if request.path.name not in ALONE:
        return
    others = [
        f"{item.location[0]}::{item.location[2]}"
        for item in request.session.items
        # The local cluster's own tests use other clusters, which nothing here disturbs.
        if item.path.name not in (*ALONE, *LOCALCLUSTER)
    ]
    eventually(
        lambda: all(map(RUN.is_over, others)),
        within=ALONE_AFTER,
        every=0.5,
        what="all others to end",
    )


@pytest.fixture(scope="session")
def programs_built() -> None:
    """Builds the local cluster's programs before its own tests, which measure times."""
    for program in (programs.NODE, programs.COREDNS, programs.PAUSE):
        programs.built(program, Cache.of(), Silent())


@pytest.fixture(scope="session")
def begun() -> float:
    """The time of the run's first use of the cluster, in seconds of Unix time."""
    return float(RUN.once("begun", time.time))


@pytest.fixture(scope="session")
def installed(begun: float) -> Installed:
    """The operator, installed on the tests' own local cluster."""
    return Installed(**RUN.once("installed", lambda: asdict(install(CLUSTER, *VALUES))))


@pytest.fixture(scope="session")
def cluster(installed: Installed) -> Kubectl:
    return Kubectl(installed.kubectl, installed.kubeconfig)


@pytest.fixture(scope="session")
def stand_in(installed: Installed) -> StandIn:
    """Services of the real serving program on the stand-in, for tests that need no real picture."""

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
    """Holds the lock on the node's stand-in GPUs for the time of the test."""
    with RUN.held("gpus"):
        yield


@pytest.fixture
def forward(kubectl: Kubectl) -> Forward:
    """An HTTP client through kubectl port-forward: ``with forward("service/demo") as client``."""
    return lambda target: forwarded(kubectl, target)
