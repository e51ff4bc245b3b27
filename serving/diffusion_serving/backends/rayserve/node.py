"""The Ray processes of one machine or pod."""

import contextlib
import ctypes
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from diffusion_serving.backends.rayserve.environment import Ports
from diffusion_serving.observability.startup_errors import StartupError

log = logging.getLogger("diffusion_serving")

OBJECT_STORE_BYTES = 80_000_000
"""Ray's minimum is 75 MB. Images do not pass through the store."""
ENGINES = "engines"
"""The Ray resource of which a replica takes one."""
HEAD = "head"
"""The Ray resource of a head without engines."""
START_SECONDS = 180.0
_SLOW = (b"timed out during startup", b"Failed to connect to GCS")
"""Ray's messages where it took its own processes, or a cluster's head, for dead too soon."""
_REAPER = Path(__file__).with_name("reaper.py")
_PR_SET_CHILD_SUBREAPER = 36


class RayEnded(StartupError):  # noqa: N818 - named after the reason that users see
    """Ray's own processes could not be started, or ended while the server ran."""

    reason = "RayEnded"


def head_part(ports: Ports, dashboard: int | None = None) -> list[str]:
    """Returns the arguments of `ray start` that make a node the head of a cluster.

    `dashboard` is the port of Ray's dashboard, by which KubeRay follows Serve.
    """
    has_dashboard = dashboard is not None
    return [
        "--head",
        f"--port={ports.gcs}",
        f"--ray-client-server-port={ports.client}",
        f"--dashboard-port={dashboard if has_dashboard else ports.dashboard}",
        f"--include-dashboard={str(has_dashboard).lower()}",
        *(["--dashboard-host=0.0.0.0"] if has_dashboard else []),
        "--no-monitor",
    ]


def command(
    directory: Path,
    address: str,
    ports: Ports,
    *,
    cores: int,
    gpus: int,
    resources: Mapping[str, int],
) -> list[str]:
    """Returns the command that starts a node's processes and stays as long as they do."""
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        f"--node-ip-address={address}",
        f"--dashboard-agent-listen-port={ports.agent}",
        # Any free ports: Ray's own range may hold ports that another server uses.
        "--min-worker-port=0",
        "--max-worker-port=0",
        f"--num-cpus={cores}",
        f"--num-gpus={gpus}",
        f"--resources={json.dumps(dict(resources))}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={directory / 'ray'}",
        "--disable-usage-stats",
        "--include-log-monitor=false",
        "--log-style=record",
        "--block",
    ]


class Node:
    """Ray's processes: `command` starts them and `end` ends them all."""

    def __init__(self, command: list[str], directory: Path, environ: Mapping[str, str]) -> None:
        # So that a process whose parent has ended becomes a child of this one.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._log = directory / "start.log"
        self._command, self._environ = command, dict(environ)
        self._start()

    def _start(self) -> None:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", str(_REAPER), str(self._process.pid)], stdin=subprocess.PIPE
        )

    def check(self) -> None:
        """Raises RayEnded, with the end of Ray's output, if its processes have ended."""
        code = self._process.poll()
        if code is not None:
            output = " ".join(self._log.read_text(errors="replace").split())[-300:]
            raise RayEnded(f"Ray's processes ended (exit code {code}). Its last words: {output}")

    def wait_started(self) -> None:
        """Waits until the node's processes run.

        Ray gives them 30 s, and a worker's head less, which is too little on busy cores: then this
        starts them again.

        Raises:
            RayEnded: the processes ended, or take too long.

        """
        deadline = time.monotonic() + START_SECONDS
        while b"Ray runtime started" not in self._log.read_bytes():
            late = time.monotonic() > deadline
            if self._process.poll() is not None and not late and self._was_slow():
                log.warning("Ray did not start in its own time; starting it again")
                self.end()
                self._start()
            self.check()
            if late:
                raise RayEnded(f"Ray did not start within {START_SECONDS:g} s.")
            time.sleep(0.05)

    def _was_slow(self) -> bool:
        output = self._log.read_bytes()
        return any(words in output for words in _SLOW)

    @property
    def proxy_runs(self) -> bool:
        return bool(_proxies())

    def close_proxy(self) -> None:
        """Makes Serve's proxy refuse new connections, and close each after its next response."""
        for process in _proxies():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGUSR1)

    def end(self) -> None:
        """Ends all of Ray's processes, and waits until they have."""
        while left := _descendants():
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=1.0)
        if self._reaper.stdin is not None:
            self._reaper.stdin.close()


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _proxies() -> list[psutil.Process]:
    proxies = []
    for process in _descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == "haproxy":
                proxies.append(process)
    return proxies
