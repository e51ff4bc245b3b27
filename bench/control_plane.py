"""A control plane to measure the operator against: real API server and controllers, no kubelet."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAME = "bench"


@dataclass(frozen=True)
class ControlPlane:
    kubeconfig: str
    audit_log: Path
    kubectl: str


def _output(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """Starts a control plane for the benchmark, and deletes it afterwards."""
    localcluster = [sys.executable, "-m", "localcluster"]
    subprocess.run(
        [*localcluster, "up", "--control-plane-only", "--name", NAME], cwd=ROOT, check=True
    )
    try:
        status = json.loads(_output([*localcluster, "status", "--name", NAME, "--json"]))
        kubectl = _output([*localcluster, "tool", "kubectl"])
        yield ControlPlane(status["kubeconfig"], Path(status["auditLog"]), kubectl)
    finally:
        subprocess.run([*localcluster, "down", "--name", NAME], cwd=ROOT, check=True)
