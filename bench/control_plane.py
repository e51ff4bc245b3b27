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


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """A control plane of the benchmark's own, gone afterwards."""
    localcluster = [sys.executable, "-m", "localcluster"]
    subprocess.run(
        [*localcluster, "up", "--control-plane-only", "--name", NAME], cwd=ROOT, check=True
    )
    try:
        found = subprocess.run(
            [*localcluster, "status", "--name", NAME, "--json"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        status = json.loads(found.stdout)
        yield ControlPlane(status["kubeconfig"], Path(status["auditLog"]), status["kubectl"])
    finally:
        subprocess.run([*localcluster, "down", "--name", NAME], cwd=ROOT, check=True)
