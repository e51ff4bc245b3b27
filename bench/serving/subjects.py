"""Who is measured, and how each is started and ended."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.prompts import GUIDANCE, STEPS, body

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "images/demo_model/weights"
START_SECONDS = 240
END_SECONDS = 30
BACKENDS = ("fastapi", "litserve", "rayserve")
PEERS = {
    "plain sync FastAPI": "sync_fastapi",
    "stock LitServe": "stock_litserve",
    "stock @serve.batch": "stock_ray_serve",
}


@dataclass(frozen=True)
class Conditions:
    """What is served: the demo model, or the stand-in that takes so many seconds a batch."""

    stand_in: float | None = None
    cap: int = 8

    @property
    def name(self) -> str:
        if self.stand_in is None:
            return "demo model"
        return f"stand-in of {self.stand_in:g} s for up to {self.cap}"


def environment() -> dict[str, str]:
    path = os.pathsep.join(str(ROOT / part) for part in ("images", "bench"))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "DIFFUSION_DRAIN_SECONDS": "0",
    }


def backend_command(backend: str, conditions: Conditions, port: int, config: Path) -> list[str]:
    document = {
        "backend": backend,
        "model": {"path": str(MODEL)},
        "generation": {"steps": STEPS, "guidanceScale": GUIDANCE},
        "batching": {"mode": "engine", "maxSize": conditions.cap},
        "queue": {"maxLength": 8 * conditions.cap},
    }
    config.write_text(json.dumps(document))
    flags = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    if conditions.stand_in is None:
        return [sys.executable, "-m", "diffusion_serving", *flags]
    return [sys.executable, "-m", "serving.launch", str(conditions.stand_in), *flags]


def peer_command(peer: str, conditions: Conditions, port: int) -> list[str]:
    what = ["--model", str(MODEL)]
    if conditions.stand_in is not None:
        what = ["--stand-in", str(conditions.stand_in)]
    return [sys.executable, "-m", f"peers.{peer}", *what, "--port", str(port)]


@contextmanager
def started(subject: str, conditions: Conditions) -> Iterator[int]:
    """The port of a backend or peer that answers, which is gone afterwards with all it started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        if subject in PEERS:
            command = peer_command(PEERS[subject], conditions, port)
        else:
            command = backend_command(subject, conditions, port, Path(folder) / "config.json")
        with (Path(folder) / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_it_answers(process, port, Path(folder) / "output")
            yield port
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            # Stock LitServe leaves its workers behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", body(0), {"Content-Type": "application/json"}
    )
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"it ended:\n{output.read_text()}")
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=60):  # noqa: S310 - same
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer within {START_SECONDS} s:\n{output.read_text()}")
        time.sleep(0.2)
