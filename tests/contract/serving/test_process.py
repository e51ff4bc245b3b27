"""The real program, `python -m diffusion_serving`, on a real model and a real socket."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

IMAGES = Path(__file__).parents[3] / "images"
START_SECONDS = 120.0
SLOW = {"prompt": "slow", "steps": 500}
"""Keeps the engine busy for long enough to see what happens meanwhile."""


def eventually(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of `what`, a connection that is refused counting as false."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if value := what():
                return value
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Server:
    """One process; its output goes to a file."""

    def __init__(self, folder: Path, environ: dict[str, str], *flags: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.output = folder / "output"
        self.termination = folder / "termination-log"
        command = [sys.executable, "-m", "diffusion_serving", *flags]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(IMAGES),
                    "TERMINATION_LOG": str(self.termination),
                    "DIFFUSION_DRAIN_SECONDS": "0",
                    **environ,
                },
            )
        self.early: dict[str, httpx.Response] = {}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def ready(self) -> "Server":
        def answers() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            return self.client.get("/readyz").status_code == 200

        eventually(answers, START_SECONDS)
        return self

    def predict(self, **fields: Any) -> httpx.Response:
        return self.client.post("/predict", json=fields)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples; `name` may hold labels."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def end(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, tiny_model: Path) -> Iterator[Start]:
    """Starts a server on the tiny model, or on what the flags name."""
    servers: list[Server] = []

    def start(*flags: str, **environ: str) -> Server:
        servers.append(Server(tmp_path, {**environment(tiny_model), **environ}, *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def environment(model: Path) -> dict[str, str]:
    document = {
        "version": 1,
        "model": {"path": str(model), "source": "image:///models/tiny"},
        "generation": {"steps": 2, "guidanceScale": 2.0, "scheduler": "dpm++2m"},
        "limits": {"maxSteps": 500},
        "queue": {"maxLength": 2, "timeoutSeconds": 300.0},
    }
    return {
        "DIFFUSION_SERVING_CONFIG": json.dumps(document),
        "DIFFUSION_REVISION": "tiny-1",
        "DIFFUSION_SERVICE": "tiny",
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Server]:
    """One ready server for what does not end it; `early` has its answers while it was loading."""
    server = Server(tmp_path_factory.mktemp("server"), environment(tiny_model))
    try:
        eventually(lambda: server.client.get("/healthz"), START_SECONDS)
        server.early = {
            "/healthz": server.client.get("/healthz"),
            "/readyz": server.client.get("/readyz"),
            "/predict": server.predict(prompt="x"),
        }
        yield server.ready()
    finally:
        server.end()


def test_http_is_up_before_the_model_is_loaded(server: Server) -> None:
    assert {path: answer.status_code for path, answer in server.early.items()} == {
        "/healthz": 200,
        "/readyz": 503,
        "/predict": 503,
    }
    assert "still loading" in server.early["/readyz"].json()["detail"]
    (warm,) = [line for line in server.lines() if "load_seconds" in line]
    assert warm["load_seconds"] > 0
    assert warm["warm_up_seconds"] > 0


def test_image_comes_out(server: Server) -> None:
    answer = server.predict(prompt="a red circle", seed=3)
    assert answer.status_code == 200
    file = base64.b64decode(answer.json()["images"][0])
    assert Image.open(io.BytesIO(file)).size == (64, 64)


def test_same_seed_gives_the_same_bytes(server: Server) -> None:
    headers = {"Accept": "image/png"}
    body = {"prompt": "a red circle", "seed": 3}
    files = {server.client.post("/predict", json=body, headers=headers).content for _ in range(3)}
    assert len(files) == 1
    other = server.client.post("/predict", json={**body, "seed": 4}, headers=headers)
    assert other.content not in files


def test_about_has_the_configuration_and_the_device_in_use(server: Server) -> None:
    about = server.client.get("/about").json()
    assert (about["revision"], about["service"]) == ("tiny-1", "tiny")
    assert about["source"] == "image:///models/tiny"
    assert (about["device"], about["dtype"], about["scheduler"]) == ("cpu", "float32", "dpm++2m")
    assert (about["generation"]["width"], about["generation"]["steps"]) == (64, 2)
    assert all(re.match(r"\d+\.\d+", version) for version in about["versions"].values())


def test_large_body_is_refused_and_the_connection_goes_on(server: Server) -> None:
    body = json.dumps({"prompt": "x" * 10_000_000}).encode()
    headers = {"Content-Type": "application/json"}
    assert server.client.post("/predict", content=body, headers=headers).status_code == 413
    chunks = (body[at : at + 65536] for at in range(0, len(body), 65536))
    assert server.client.post("/predict", content=chunks, headers=headers).status_code == 413
    assert server.predict(prompt="x").status_code == 200


def test_memory_does_not_grow_with_refused_bodies(server: Server) -> None:
    body = b'{"prompt": "' + b"x" * 30_000_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    server.client.post("/predict", content=body, headers=headers)
    before = server.metric("process_resident_memory_bytes")
    for _ in range(5):
        server.client.post("/predict", content=body, headers=headers)
    assert server.metric("process_resident_memory_bytes") - before < 15_000_000


def test_full_queue_and_hung_up_clients_on_real_connections(server: Server) -> None:
    hung_up = 'diffusion_rejected_total{reason="hang_up"}'
    before = server.metric(hung_up)
    done = server.metric("diffusion_images_total")
    body = json.dumps({"prompt": "left"}).encode()
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.predict, **SLOW)
        eventually(lambda: server.metric("diffusion_queue_seconds_count") > done)
        leaving = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
        for connection in leaving:
            connection.sendall(request)
        eventually(lambda: server.metric("diffusion_queue_length") == 2)
        refused = server.predict(prompt="x")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        for connection in leaving:
            connection.close()
        eventually(lambda: server.metric(hung_up) == before + 2)
        assert server.metric("diffusion_queue_length") == 0
        assert not running.done(), "the slow request must outlast what is looked at meanwhile"
        assert running.result(60).status_code == 200
    assert server.metric("diffusion_images_total") == done + 1


def test_output_is_json_lines_without_prompts(server: Server) -> None:
    server.predict(prompt="a secret wish " * 20)
    server.predict(prompt="a secret wish", steps=0)
    server.client.get("/predict?prompt=secret")
    lines = eventually(lambda: [x for x in server.lines() if x.get("status") == 405])
    assert lines[0]["route"] == "/predict"
    assert "secret" not in server.output.read_text()


def test_sigterm_is_not_ready_at_once_takes_what_still_comes_and_finishes_all(
    start: Start,
) -> None:
    server = start(DIFFUSION_DRAIN_SECONDS="3").ready()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.predict, **SLOW)
        eventually(lambda: server.metric("diffusion_queue_seconds_count") == 1)
        waiting = pool.submit(server.predict, prompt="x")
        eventually(lambda: server.metric("diffusion_queue_length") == 1)
        server.process.terminate()
        assert eventually(lambda: server.client.get("/readyz").status_code == 503)
        late = server.predict(prompt="x")
        assert (late.status_code, late.headers["connection"]) == (200, "close")
        assert running.result(60).status_code == 200
        assert waiting.result(60).status_code == 200
    assert server.process.wait(30) == 0
    assert not server.termination.exists()


def test_signal_while_loading_ends_at_once(start: Start) -> None:
    server = start()
    eventually(lambda: server.client.get("/healthz"), START_SECONDS)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def assert_refused(server: Server, reason: str, words: str) -> None:
    assert server.process.wait(START_SECONDS) == 78, server.output.read_text()
    document = json.loads(server.termination.read_text())
    assert set(document) == {"reason", "message"}
    assert document["reason"] == reason
    assert words in document["message"]
    assert [line["reason"] for line in server.lines() if line["level"] == "error"] == [reason]


def test_missing_model_is_refused(start: Start, tmp_path: Path) -> None:
    assert_refused(start("--model", str(tmp_path / "nowhere")), "ModelLoadFailed", "does not exist")


def test_damaged_model_is_refused(start: Start, copy: Path) -> None:
    file = copy / "vae/diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    assert_refused(start("--model", str(copy)), "ModelLoadFailed", "not a whole safetensors file")


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="shows what happens without a GPU")
def test_missing_gpu_is_refused(start: Start) -> None:
    assert_refused(start("--device", "cuda"), "WrongDevice", "no CUDA device")


def test_wrong_configuration_is_refused(start: Start) -> None:
    server = start("--precision", "float8")
    assert_refused(server, "InvalidConfiguration", "precision: input should be")


def test_taken_port_ends_the_process_with_the_cause(tiny_model: Path, server: Server) -> None:
    command = [sys.executable, "-m", "diffusion_serving", "--model", str(tiny_model)]
    ended = subprocess.run(
        [*command, "--host", "127.0.0.1", "--port", str(server.port)],
        env={**os.environ, "PYTHONPATH": str(IMAGES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode not in (0, 78)
    assert "address already in use" in ended.stdout.lower()
