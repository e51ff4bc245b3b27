"""Real servers on loopback, as targets of the load test's real process."""

import asyncio
import base64
import contextlib
import gzip
import io
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ahead import ahead, go_ahead
from ports import free_port
from waiting import eventually

LOADTEST = Path(__file__).parents[3] / "loadtest"

FINISHED_WITHIN = 300.0
"""Seconds; the longest run is a search of twenty probes."""

Behaviour = Callable[[int], tuple[float, str]]
"""The n-th request's delay in seconds and its outcome, a key of `ANSWERS` or a connection fault."""


def picture(kind: str, size: int = 128) -> bytes:
    # Noise compresses to about 50 KB, as a real image of that size does.
    image = Image.effect_noise((size, size), 90).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def answer(image: bytes, **changes: Any) -> bytes:
    document = {
        "images": [base64.b64encode(image).decode()],
        "format": "png",
        "width": 128,
        "height": 128,
        **changes,
    }
    return json.dumps(document).encode()


PNG = picture("PNG")
ANSWERS: dict[str, tuple[int, bytes]] = {
    "ok": (200, answer(PNG)),
    "busy": (429, b'{"title":"the queue is full"}'),
    "down": (503, b'{"title":"not ready"}'),
    "truncated": (200, answer(PNG[:-20])),
    "small": (200, answer(picture("PNG", 64))),
    "text": (200, b"<html>it works</html>"),
    "empty": (200, answer(PNG, images=[])),
}
COMPRESSED = gzip.compress(ANSWERS["ok"][1])
ENCODED = {"gzip": COMPRESSED, "bad-gzip": b"{}", "cut-gzip": COMPRESSED[:-20]}
"""Bodies that are sent as gzip, whatever they are."""
KINDS = {
    "busy": "HTTP429",
    "down": "HTTP503",
    "truncated": "InvalidImage",
    "small": "WrongImage",
    "text": "InvalidResponse",
    "empty": "InvalidResponse",
    "cut": "BrokenResponse",
    "close": "ConnectionError",
    "stall": "Timeout",
}


@dataclass
class Served:
    """One request as the server saw it; times are of the server's clock."""

    arrived: float
    answered: float
    outcome: str
    prompt: str
    delay: float


@dataclass
class Server:
    """An HTTP/1.1 server with keep-alive, in its own thread; `behaviour` decides each answer."""

    behaviour: Behaviour
    about: dict[str, Any] | None = None
    ready: bool = True
    served: list[Served] = field(default_factory=list)
    busiest: int = 0
    connections: int = 0
    closed: int = 0
    paths: list[str] = field(default_factory=list)
    port: int = 0
    _busy: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, stages: list[tuple[int, float]], **changes: Any) -> dict[str, Any]:
        return plan(self.url, stages, **changes)

    def outcomes(self) -> Counter[str]:
        return Counter(request.outcome for request in self.served)

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()

        async def serve() -> None:
            self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]
            started.set()

        def work() -> None:
            go_ahead(threading.get_native_id())
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(serve())
            self._loop.run_forever()
            for pending in asyncio.all_tasks(self._loop):
                pending.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

        self._thread = threading.Thread(target=work)
        self._thread.start()
        started.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.closed += 1

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        path = head.split(" ", 2)[1]
        length = int(head.split("content-length: ")[1].split("\r\n")[0]) if "post " in head else 0
        body = await reader.readexactly(length)
        if path != "/predict":
            self.paths.append(path)
            status, content = self._other(path)
            writer.write(_response(status, content))
            return True
        arrived = time.perf_counter()
        self._busy += 1
        self.busiest = max(self.busiest, self._busy)
        try:
            delay, outcome = self.behaviour(len(self.served))
            seen = Served(arrived, 0.0, outcome, json.loads(body)["prompt"], delay)
            self.served.append(seen)
            await asyncio.sleep(delay)
            if outcome in ANSWERS:
                writer.write(_response(*ANSWERS[outcome]))
            elif outcome in ENCODED:
                writer.write(_response(200, ENCODED[outcome], "content-encoding: gzip"))
            elif outcome == "hangup":  # a complete answer; then the server closes the connection
                writer.write(_response(*ANSWERS["ok"]))
            elif outcome == "cut":
                writer.write(_response(*ANSWERS["ok"])[:-100])
            elif outcome == "trickle":
                for byte in _response(*ANSWERS["ok"]):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.1)
            await writer.drain()
            seen.answered = time.perf_counter()
        finally:
            self._busy -= 1
        return outcome in ANSWERS or outcome in ENCODED

    def _other(self, path: str) -> tuple[int, bytes]:
        if path == "/readyz":
            return (200, b"{}") if self.ready else (503, b"{}")
        if path == "/about" and self.about is not None:
            return 200, json.dumps(self.about).encode()
        return 404, b"{}"


def _response(status: int, body: bytes, *headers: str) -> bytes:
    length = f"content-length: {len(body)}"
    head = (f"HTTP/1.1 {status} X", "content-type: application/json", length, *headers)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(behaviour: Behaviour, **options: Any) -> Server:
        server = Server(behaviour, **options)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def plan(url: str, stages: list[tuple[int, float]], **changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "version": 1,
        "test": {"name": "contract", "namespace": "default", "run": "abc123"},
        "target": {"url": url},
        "users": {
            "stages": [{"users": users, "durationSeconds": seconds} for users, seconds in stages],
            "spawnRate": 1000.0,
        },
        "request": {"body": {"steps": 4, "width": 128, "height": 128}, "timeoutSeconds": 5.0},
    }
    return document | changes


class Runner:
    """Runs `python -m diffusion_loadtest`, as the image does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.termination_log = folder / "termination-log"
        self.termination_log.touch()
        self.out = folder / "out"
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, document: dict[str, Any], *options: str, **variables: str) -> Any:
        environment = {
            **os.environ,
            "PYTHONPATH": str(LOADTEST),
            "DIFFUSION_LOAD_PLAN": json.dumps(document),
            "TERMINATION_LOG": str(self.termination_log),
            **variables,
        }
        process = subprocess.Popen(
            [
                *ahead(),
                sys.executable,
                *("-W", "error::RuntimeWarning"),  # gevent's warning that it patched too late
                *("-m", "diffusion_loadtest", "--out", str(self.out), *options),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def start_distributed(
        self, document: dict[str, Any], workers: int, **variables: str
    ) -> list[Any]:
        """Starts a master and its workers, and returns them in that order."""
        port = free_port()
        document = document | {"workers": workers}
        master = self.start(document, "--role", "master", "--port", str(port), **variables)
        role = {"DIFFUSION_LOAD_ROLE": "worker", "DIFFUSION_LOAD_MASTER": f"127.0.0.1:{port}"}
        own = {"TERMINATION_LOG": str(self._folder / "worker-termination-log")}
        (self._folder / "worker-termination-log").touch()
        others = [self.start(document, **(variables | role | own)) for _ in range(workers)]
        return [master, *others]

    def finish(self, process: Any) -> tuple[int, str]:
        """Waits for the exit code, and for all that the process printed."""
        out, err = process.communicate(timeout=FINISHED_WITHIN)
        return process.returncode, out + err

    def report(
        self, document: dict[str, Any], *options: str, workers: int = 1, **variables: str
    ) -> dict[str, Any]:
        """Runs the load test to its report; each of its processes must exit with 0."""
        started = (
            [self.start(document, *options, **variables)]
            if workers == 1
            else self.start_distributed(document, workers, **variables)
        )
        for process in started:
            code, printed = self.finish(process)
            assert code == 0, printed
        return self.read("report.json")

    def read(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.out / name).read_text())
        return document

    def progress(self, requests: int) -> dict[str, Any]:
        """Waits for a progress document with at least that many ended requests."""

        def enough() -> dict[str, Any] | None:
            progress = self.read("progress.json")
            return progress if progress["requests"] >= requests else None

        return eventually(enough, forgive=FileNotFoundError, what=f"{requests} requests have ended")

    def kill(self) -> None:
        """Ends the processes that still run, also after a failed test."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def make_plan() -> Callable[..., dict[str, Any]]:
    return plan


@pytest.fixture
def make_runner() -> Iterator[Callable[[Path], Runner]]:
    runners: list[Runner] = []

    def make(folder: Path) -> Runner:
        folder.mkdir(exist_ok=True)
        runners.append(Runner(folder))
        return runners[-1]

    yield make
    for runner in runners:
        runner.kill()


@pytest.fixture
def runner(tmp_path: Path, make_runner: Callable[[Path], Runner]) -> Runner:
    return make_runner(tmp_path)


@dataclass
class Finished:
    """A run that has ended: its target, its report, and all that it published or printed."""

    server: Server
    report: dict[str, Any]
    published: list[str]
    prompts: list[str]
    kinds: dict[str, str]


@pytest.fixture(scope="module")
def mixed_run(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of 12 users; answers take about 300 ms with a long tail, and a tenth fails."""
    chance = random.Random(7)
    # A stall would hold the run up until its timeout.
    faults = [outcome for outcome in KINDS if outcome != "stall"]

    def behaviour(_: int) -> tuple[float, str]:
        delay = min(chance.lognormvariate(-1.2, 0.35), 1.5)
        return delay, chance.choice(faults) if chance.random() < 0.1 else "ok"

    server = serve(behaviour, about={"backend": "fastapi", "revision": "r1"})
    prompts = [f"a secret scene number {n}" for n in range(20)]
    runner = Runner(tmp_path_factory.mktemp("mixed"))
    process = runner.start(server.plan([(12, 5.0)], prompts={"inline": prompts}))
    code, printed = runner.finish(process)
    assert code == 0, printed
    published = [printed, *(path.read_text() for path in runner.out.iterdir())]
    return Finished(server, runner.read("report.json"), published, prompts, KINDS)
