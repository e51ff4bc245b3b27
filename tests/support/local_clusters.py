"""Local clusters of the cluster's own tests, with the traces that a cluster may leave."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localcluster import cgroups, kind, processes, programs
from localcluster.console import Progress
from localcluster.paths import Cache, ClusterPaths

REPOSITORY = Path(__file__).parents[2]
READY_WITHIN = 10.0
AGAIN_WITHIN = 5.0
"""Seconds of a second `up`; above, of a control plane's first; both with built programs."""


needs_node = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or kind.usable(),
    reason="a local node needs Linux and root, and is not used where kind is usable",
)


def localcluster(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localcluster", *argv],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class Cluster:
    paths: ClusterPaths
    flags: tuple[str, ...] = ()

    def run(self, command: str, *argv: str) -> str:
        done = localcluster(command, "--name", self.paths.name, *argv)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def up(self) -> None:
        self.run("up", *self.flags)

    def start_up(self) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", "localcluster", "up", "--name", self.paths.name]
        return subprocess.Popen([*argv, *self.flags], cwd=REPOSITORY, stderr=subprocess.DEVNULL)

    def down(self) -> None:
        self.run("down")

    def status(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.run("status", "--json"))
        return value

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        kubectl = programs.built(programs.NODE, self.paths.cache, Silent()) / "kubectl"
        done = subprocess.run(
            [str(kubectl), f"--kubeconfig={self.paths.kubeconfig}", *argv],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def leftovers(self) -> dict[str, list[str]]:
        """Remains of the cluster on the machine, by kind; empty lists mean that it is gone."""
        folder = str(self.paths.root)
        mounted = Path("/proc/mounts").read_text().splitlines()
        return {
            "processes": [str(pid) for pid in processes.marked(self.paths.root)],
            "mounts": [line for line in mounted if folder in line or "localcluster" in line],
            "interfaces": [
                name for _, name in socket.if_nameindex() if name.startswith(f"lc{self.paths.id}")
            ],
            "cgroups": [str(path) for path in cgroups.find(f"localcluster-{self.paths.id}")],
            "files": [folder] if self.paths.root.exists() else [],
        }


NOTHING: dict[str, list[str]] = {
    "processes": [],
    "mounts": [],
    "interfaces": [],
    "cgroups": [],
    "files": [],
}


class Silent(Progress):
    def say(self, message: str) -> None:
        pass


def until(condition: Callable[[], bool], what: str, timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.05)


@contextmanager
def cluster(name: str, *flags: str) -> Iterator[Cluster]:
    made = Cluster(Cache.of().cluster(name), flags)
    made.run("down", "--purge")
    try:
        yield made
    finally:
        made.run("down", "--purge")


def in_time(taken: list[float], seconds: float) -> None:
    """Asserts that one try was fast enough; skips on a machine that is busy otherwise."""
    if min(taken) >= seconds and os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip(f"took {min(taken):.1f} s on a machine that is busy with something else")
    assert min(taken) < seconds
