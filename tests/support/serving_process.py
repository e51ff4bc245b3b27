"""The serving program as a process, with all its children: start, requests, memory, end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

import waiting
from answers import LIMITS, MOST_WAITING, QUEUE_LENGTH, Answers
from ports import free_port
from signing_certificates import authority, mounted

ROOT = Path(__file__).parents[2]
IMAGES, SERVING = ROOT / "images", ROOT / "serving"
STAND_IN = {
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "standin/path"), str(SERVING)]),
    "STANDIN_STEP_SECONDS": "0.01",
}
"""The environment of a server on the stand-in, without torch: `SLOW` takes 5 s on any machine."""
START_SECONDS = 180.0
KEY = "a-key-for-tests"
SLOW: dict[str, Any] = {"prompt": "slow", "steps": 500, "width": 64, "height": 64}
"""A request that keeps the engine busy for a few seconds."""
SLOWEST: dict[str, Any] = SLOW | {"images": 4}
"""A request that keeps the engine busy for the length of a test's checks."""


eventually = partial(waiting.eventually, forgive=httpx.TransportError)
"""Waits for a truthy answer; a refused connection counts as none yet."""


@dataclass(frozen=True)
class Variant:
    """A backend with its mode of batching."""

    backend: str
    mode: str = "engine"

    def __str__(self) -> str:
        return self.backend if self.mode == "engine" else f"{self.backend}-{self.mode}"


VARIANTS = (
    Variant("fastapi"),
    Variant("litserve"),
    Variant("litserve", "framework"),
    Variant("rayserve"),
)
RAY_BATCHES = Variant("rayserve", "framework")
_WAITS = {
    # A framework's batch takes requests of this many ms; Ray Serve waits so even when it is busy.
    Variant("litserve", "framework"): 100,
    RAY_BATCHES: 500,
}


def configuration(
    model: Path, variant: Variant, loras: Mapping[str, Path] | None = None, **changes: Any
) -> dict[str, str]:
    """The environment of a server of the tiny model, with long timeouts and a long queue."""
    # A framework's own batching counts requests.
    queue_length = MOST_WAITING if variant.mode == "framework" else QUEUE_LENGTH
    document = {
        "version": 1,
        "backend": variant.backend,
        "model": {
            "path": str(model),
            "source": "image:///models/tiny",
            "loras": [{"name": name, "path": str(path)} for name, path in (loras or {}).items()],
        },
        "generation": {"steps": 2, "guidanceScale": 2.0, "scheduler": "dpm++2m"},
        "limits": LIMITS,
        "queue": {"maxLength": queue_length, "timeoutSeconds": 300.0},
        "batching": {
            "mode": variant.mode,
            "maxSize": 8,
            "maxWaitMilliseconds": _WAITS.get(variant, 0),
        },
        **changes,
    }
    return {
        "DIFFUSION_SERVING_CONFIG": json.dumps(document),
        "DIFFUSION_REVISION": "tiny-1",
        "DIFFUSION_SERVICE": "tiny",
    }


def demo_configuration(variant: Variant) -> dict[str, str]:
    """The environment of a server of the demo model, with a queue for 1000."""
    return configuration(
        IMAGES / "demo_model/weights",
        variant,
        generation={"steps": 4, "guidanceScale": 7.5, "scheduler": "ddim"},
        queue={"maxLength": 1000, "timeoutSeconds": 1800},
    )


class Server(Answers):
    """A server process. Its output goes to a file; `early` has its answers while it was loading.

    `program` is the module to run, with its arguments.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *flags: str,
        program: Sequence[str] = ("diffusion_serving",),
    ) -> None:
        self.port = free_port()
        super().__init__(httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120))
        self.output = folder / "output"
        self.termination = folder / "termination-log"
        command = [sys.executable, "-m", *program, *flags]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(SERVING),
                    "TERMINATION_LOG": str(self.termination),
                    "DIFFUSION_DRAIN_SECONDS": "0",
                    **environ,
                },
            )
        self.early: dict[str, httpx.Response] = {}

    def up(self) -> "Server":
        """Waits until the server answers HTTP, which it does before the model is loaded."""
        eventually(
            lambda: self._lives() and self.client.get("/healthz").status_code == 200,
            within=START_SECONDS,
            what="an answer of /healthz",
        )
        return self

    def ready(self, seconds: float = START_SECONDS) -> "Server":
        eventually(
            lambda: self._lives() and self.client.get("/readyz").status_code == 200,
            within=seconds,
            what="an answer of /readyz",
        )
        return self

    def _lives(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        return True

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    @property
    def family(self) -> set[int]:
        """The processes of this server: its own and all descendants."""
        return {self.process.pid, *descendants(self.process.pid)}

    def end(self) -> None:
        self.client.close()
        family = self.family
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(120)
        for pid in living(family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)


def descendants(pid: int) -> set[int]:
    """The children of the process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for child, parent, _ in _processes():
        children.setdefault(parent, []).append(child)
    family: set[int] = set()
    waiting = [pid]
    while waiting:
        born = children.get(waiting.pop(), [])
        family.update(born)
        waiting += born
    return family


def living(pids: set[int]) -> set[int]:
    """The processes of the set that still run."""
    return {pid for pid, _, state in _processes() if pid in pids and state != "Z"}


def resident_bytes(pids: set[int]) -> int:
    """Anonymous memory of the processes; memory that they share counts in parts.

    Mapped files are left out: their share depends on the kernel and on other processes.
    """
    return sum(_own_bytes(pid) for pid in pids)


def _own_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:  # the process has ended
        return 0
    sizes = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines[1:])}
    return (sizes["Pss_Anon"] + sizes["Pss_Shmem"]) * 1024


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yields the id, the parent's id and the state of each process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                yield int(entry.name), int(fields[1]), fields[0]


class Pool:
    """Servers that tests share: one of each kind, and of one variant at a time."""

    def __init__(
        self,
        folder: Callable[[str], Path],
        model: Path,
        loras: Mapping[str, Path],
        checker: Path,
    ) -> None:
        self._folder = folder
        self._model = model
        self._loras = loras
        self._checker = {"path": str(checker), "source": "hf://acme/decent"}
        self._variant: Variant | None = None
        self._servers: dict[str, Server] = {}

    def patient(self, variant: Variant) -> Server:
        """A ready server of the real model with LoRAs, which lets requests wait for long."""

        def settings() -> dict[str, str]:
            with_loras = configuration(self._model, variant, self._loras)
            return {**with_loras, "DIFFUSION_DRAIN_SECONDS": "3"}

        return self._get(variant, "patient", settings)

    def quick(self, variant: Variant) -> Server:
        """A ready server on the stand-in, which is fast, needs no torch, and refuses by verdict."""

        def settings() -> dict[str, str]:
            checked = {"checker": self._checker}
            with_loras = configuration(self._model, variant, self._loras, safety=checked)
            # Fifty connections through Ray's proxy take longest; the busy engine must outlast them.
            slower = {"STANDIN_STEP_SECONDS": "0.02"} if variant.backend == "rayserve" else {}
            return {**with_loras, **STAND_IN, **slower, "DIFFUSION_DRAIN_SECONDS": "3"}

        return self._get(variant, "quick", settings)

    def strict(self, variant: Variant) -> Server:
        """A ready server on the stand-in that requires a key, signs, and blurs blocked pictures.

        A request waits a second.

        `secret` is the folder of the certificate's Secret.
        """

        def settings() -> dict[str, str]:
            keys = self._folder("keys") / "keys"
            keys.write_text(f"another-key\n{KEY}\n", encoding="utf-8")
            self.secret = self._folder("secret")
            certificate, key = mounted(self.secret, "first", authority().issue("First"))
            files = {"certificateFile": str(certificate), "privateKeyFile": str(key)}
            keyed = configuration(
                self._model,
                variant,
                queue={"maxLength": QUEUE_LENGTH, "timeoutSeconds": 1.0},
                auth={"apiKeyFile": str(keys)},
                provenance={"contentCredentials": files},
                safety={"checker": self._checker, "action": "Blur"},
            )
            return {**keyed, **STAND_IN}

        return self._get(variant, "strict", settings)

    def _get(self, variant: Variant, kind: str, settings: Callable[[], dict[str, str]]) -> Server:
        if variant != self._variant:
            self.end()
            self._variant = variant
        server = self._servers.get(kind)
        if server is None or server.process.poll() is not None:
            server = self._servers[kind] = Server(self._folder(kind), settings()).up()
            server.early = {
                "/healthz": server.client.get("/healthz"),
                "/readyz": server.client.get("/readyz"),
                "/predict": server.predict(prompt="x"),
                "/about": server.client.get("/about", headers={"Authorization": f"Bearer {KEY}"}),
            }
        return server.ready()

    def end(self) -> None:
        for server in self._servers.values():
            server.end()
        self._servers = {}
