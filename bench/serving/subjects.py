"""The subjects that are measured, and how each is started, stopped for a while, and ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from ports import free_port
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
    """The pipeline that is served: the demo model, or a stand-in.

    `stand_in` is the seconds of a batch, or the flag that `serving.launch` takes.
    """

    stand_in: float | str | None = None
    cap: int = 8

    @property
    def name(self) -> str:
        if self.stand_in is None:
            return "demo model"
        return f"stand-in of {self.stand_in} s for up to {self.cap}"

    @property
    def flags(self) -> list[str]:
        """The flags that select this pipeline in a program of the bench."""
        if self.stand_in is None:
            return ["--model", str(MODEL)]
        return ["--stand-in", str(self.stand_in)]


def environment() -> dict[str, str]:
    path = os.pathsep.join(str(ROOT / part) for part in ("serving", "bench"))
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
    return [sys.executable, "-m", f"peers.{peer}", *conditions.flags, "--port", str(port)]


class NotUp(RuntimeError):  # noqa: N818 - named after the event
    """A subject has never answered, or no longer answers."""


def client_output(program: str, *flags: str) -> dict[str, Any]:
    """The JSON that a client prints, run in a process of its own.

    Raises:
        NotUp: The client failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", program, *flags],
        cwd=ROOT,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last_line = (done.stderr.splitlines() or [""])[-1][:300]
        raise NotUp(f"{program} exited with {done.returncode}: {last_line}")
    output: dict[str, Any] = json.loads(done.stdout)
    return output


class Subject:
    """A backend or a peer with all its processes, which compute only while it is `awake`."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._first = psutil.Process(pid)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Lets the processes run for the duration of the block."""
        self.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.signal(signal.SIGSTOP)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to each process of the subject."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def processes(self) -> list[psutil.Process]:
        """The first process and its descendants; none once the first has ended."""
        try:
            return [self._first, *self._first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def started(name: str, conditions: Conditions) -> Iterator[Subject]:
    """Starts a backend or peer, waits for an answer, stops it, and ends all its processes later.

    Raises:
        NotUp: The subject ended, or did not answer in time.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        if name in PEERS:
            command = peer_command(PEERS[name], conditions, port)
        else:
            command = backend_command(name, conditions, port, Path(folder) / "config.json")
        with (Path(folder) / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        subject = Subject(port, process.pid)
        try:
            with subject.awake():
                _wait_until_it_answers(process, port, Path(folder) / "output")
            yield subject
        finally:
            subject.signal(signal.SIGCONT)
            left = subject.processes()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            # Stock LitServe leaves its workers behind, and a subject that ended by itself may
            # leave any child behind.
            for other in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    other.kill()
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
            raise NotUp(f"the subject exited with {process.returncode}: {_last_words(output)}")
        with (
            contextlib.suppress(OSError, HTTPException),
            urllib.request.urlopen(request, timeout=60),  # noqa: S310 - as above
        ):
            return
        if time.monotonic() > deadline:
            raise NotUp(f"no answer within {START_SECONDS} s: {_last_words(output)}")
        time.sleep(0.2)


def _last_words(output: Path) -> str:
    lines = [line for line in output.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "there was no output"
