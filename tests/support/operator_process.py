"""The operator as a process, which a test can end in every way that a cluster does."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubectl import eventually

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "images": {
        "loadtest": "loadtest:none",
        "backends": {backend: f"{backend}:none" for backend in ("fastapi", "litserve", "rayserve")},
    },
    # No autoscaler runs in the tests, and no pod of theirs crashes after it was ready.
    "rollouts": {"minReadySeconds": 0, "scaleUpGraceSeconds": 0},
    "accelerators": {
        "standin": {"resourceName": "diffusion.dev/standin-gpu", "device": "cpu"},
        "standin-2gi": {
            "resourceName": "diffusion.dev/standin-gpu",
            "device": "cpu",
            "memory": "2Gi",
        },
        "t4": {
            "resourceName": "nvidia.com/gpu",
            "nodeLabels": [{"nvidia.com/gpu.product": "Tesla-T4"}],
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
            ],
        },
    },
}

STARTED = "the operator has started"


class OperatorProcess:
    """The operator's process, which a test starts, stops, kills and starts again."""

    program: tuple[str, ...] = ("-m", "diffusion_operator", "--liveness", "")

    def __init__(
        self, kubeconfig: str, directory: Path, *arguments: str, prometheus_url: str = ""
    ) -> None:
        self._arguments = arguments
        self._kubeconfig = kubeconfig
        self._settings = directory / "settings.json"
        self._settings.write_text(json.dumps({**SETTINGS, "prometheusUrl": prometheus_url}))
        self.log = directory / "operator.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, until: str = STARTED) -> None:
        """Starts the operator, and waits until its log has the words ``until``."""
        environment = {
            **os.environ,
            "KUBECONFIG": self._kubeconfig,
            "DIFFUSION_OPERATOR_SETTINGS": str(self._settings),
        }
        seen = self.count_in_log(until)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.program, *self._arguments],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(
                lambda: self.count_in_log(until) > seen, within=120, what="the operator to start"
            )
        except BaseException:
            # Otherwise this operator would also act on the next control plane of that name.
            self.kill()
            raise

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """The id of the process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def count_in_log(self, words: str) -> int:
        """The number of times that the log has those words."""
        return self.log.read_text().count(words) if self.log.exists() else 0

    def kill(self) -> None:
        """Ends the process as a lost node would: at once, in the middle of anything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """Ends the process as a kubelet would, and returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=60)
        self._process = None
        return code

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pauses the process for the time of the context; it continues and catches up."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> int:
        """Waits for the process to end by itself, and returns its exit code."""
        assert self._process is not None
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def memory_mb(self) -> float:
        """Resident memory in megabytes (10^6 bytes)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024 / 1e6
