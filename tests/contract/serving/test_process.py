"""Start and end of the real program: signals, refused models, lost workers."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving_process import (
    SLOWEST,
    STAND_IN,
    START_SECONDS,
    Server,
    Variant,
    configuration,
    descendants,
    eventually,
    living,
)

FASTAPI, LITSERVE, RAYSERVE = Variant("fastapi"), Variant("litserve"), Variant("rayserve")

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, tiny_model: Path) -> Iterator[Start]:
    """Starts a server on the stand-in; start and end of a process need no pixels."""
    servers: list[Server] = []

    def start(variant: Variant, *flags: str, **environ: str) -> Server:
        settings = configuration(tiny_model, variant) | STAND_IN | environ
        servers.append(Server(tmp_path, settings, *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def assert_gone(pids: set[int]) -> None:
    eventually(lambda: not living(pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_loading_ends_at_once_and_leaves_no_process(
    start: Start, variant: Variant, number: signal.Signals
) -> None:
    if (variant, number) == (RAYSERVE, signal.SIGINT):
        pytest.skip("Ray takes long to start, and the other signal shows the same")
    server = start(variant, STANDIN_LOAD_SECONDS="600").up()
    family = server.family
    server.process.send_signal(number)
    assert server.process.wait(30) == 0
    assert_gone(family)


def test_signal_while_ray_itself_starts_is_no_error(start: Start) -> None:
    server = start(RAYSERVE)
    eventually(
        lambda: len(descendants(server.process.pid)) > 2,
        within=START_SECONDS,
        what="Ray's first processes",
    )
    family = server.family
    server.process.terminate()
    assert server.process.wait(30) == 0
    assert [line["message"] for line in server.lines()] == ["starting"]
    assert_gone(family)


def assert_refused(server: Server, reason: str, words: str) -> None:
    assert server.process.wait(START_SECONDS) == 78, server.output.read_text()
    document = json.loads(server.termination.read_text())
    assert set(document) == {"reason", "message"}
    assert document["reason"] == reason
    assert words in document["message"]
    assert [line["reason"] for line in server.lines() if line["level"] == "error"] == [reason]


def test_missing_model_is_refused(start: Start, variant: Variant, tmp_path: Path) -> None:
    server = start(variant, "--model", str(tmp_path / "nowhere"))
    assert_refused(server, "ModelLoadFailed", "does not exist")


def test_damaged_model_is_refused(start: Start, tiny_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    file = copy / "vae/diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    server = start(FASTAPI, "--model", str(copy))
    assert_refused(server, "ModelLoadFailed", "not a whole safetensors file")


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="shows what happens without a GPU")
@pytest.mark.parametrize(
    "backend", [FASTAPI, LITSERVE, pytest.param(RAYSERVE, marks=pytest.mark.full)], ids=str
)
def test_missing_gpu_is_refused(start: Start, backend: Variant) -> None:
    """Each backend passes on its pipeline's refusal; `test_pipeline.py` shows the real one's."""
    assert_refused(start(backend, "--device", "cuda"), "WrongDevice", "no CUDA device")


def test_wrong_configuration_is_refused(start: Start) -> None:
    server = start(FASTAPI, "--precision", "float8")
    assert_refused(server, "InvalidConfiguration", "precision: input should be")


def workers(server: Server) -> set[int]:
    """The engine processes of a server."""
    marks = ("spawn_main", "diffusion_serving.engine_process")
    return {
        pid
        for pid in descendants(server.process.pid)
        if any(mark in command(pid) for mark in marks)
    }


@pytest.mark.parametrize("backend", [FASTAPI, LITSERVE, RAYSERVE], ids=str)
def test_engine_that_hangs_under_load_ends_the_server_and_its_requests(
    start: Start, backend: Variant, tiny_model: Path
) -> None:
    """Requests are refused at their deadline, or as soon as the engine counts as hung.

    A signal to end the server, sent in between, waits for nothing of the engine.
    """
    queue = {"maxLength": 20_000, "timeoutSeconds": 4.0}
    short = configuration(tiny_model, backend, queue=queue)
    server = start(
        backend, DIFFUSION_SILENCE_SECONDS="7", DIFFUSION_DRAIN_SECONDS="1", **short
    ).ready()
    family = server.family
    (worker,) = workers(server)
    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(server.predict, **SLOWEST)
        eventually(lambda: server.metric("diffusion_queue_seconds_count") == 1)
        others = [threads.submit(server.predict, **SLOWEST) for _ in range(18)]
        os.kill(worker, signal.SIGSTOP)
        answers = [other.result(30) for other in (first, *others)]
        late = threads.submit(server.predict, **SLOWEST)
        server.process.terminate()
        answers.append(late.result(30))
    assert [answer.status_code for answer in answers] == [504] * 19 + [503]
    assert answers[-1].headers["retry-after"] == "5"
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert_refused(server, "EngineHung", "did not answer for 7 s")
    assert_gone(family)


@pytest.mark.parametrize(
    "backend", [pytest.param(FASTAPI, marks=pytest.mark.full), LITSERVE], ids=str
)
def test_worker_that_is_killed_ends_the_server_and_its_requests(
    start: Start, backend: Variant
) -> None:
    server = start(backend).ready()
    family = server.family
    (worker,) = workers(server)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(server.predict, **SLOWEST)
        eventually(lambda: server.metric("diffusion_queue_seconds_count") == 1)
        os.kill(worker, signal.SIGKILL)
        answer = running.result()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert_refused(server, "WorkerLost", "signal 9")
    assert_gone(family)


@pytest.mark.parametrize("backend", [FASTAPI, LITSERVE], ids=str)
def test_worker_ends_with_a_server_that_is_killed(start: Start, backend: Variant) -> None:
    server = start(backend).up()
    family, left = server.family, workers(server)
    assert left
    server.process.kill()
    assert_gone(left)
    for pid in living(
        family
    ):  # LitServe's queues outlive a server that isn't a pod's first process
        os.kill(pid, signal.SIGKILL)


@pytest.mark.full
def test_worker_of_a_replica_that_is_killed_ends_the_server(start: Start) -> None:
    server = start(RAYSERVE).ready()
    family = server.family
    (worker,) = workers(server)
    os.kill(worker, signal.SIGKILL)
    assert_refused(server, "WorkerLost", "signal 9")
    assert_gone(family)


@pytest.mark.full
def test_replica_that_is_killed_is_replaced_and_ray_that_ends_ends_the_server(
    start: Start,
) -> None:
    server = start(RAYSERVE).ready()
    (replica,) = (pid for pid in descendants(server.process.pid) if "ServeReplica" in command(pid))
    os.kill(replica, signal.SIGKILL)
    eventually(lambda: server.client.get("/readyz").status_code != 200)
    server.ready()
    assert server.predict(prompt="x").status_code == 200
    family = server.family
    (raylet,) = (pid for pid in family if command(pid).split("\0")[0].endswith("/raylet"))
    os.kill(raylet, signal.SIGKILL)
    assert_refused(server, "RayEnded", "Ray's processes ended")
    assert_gone(family)


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


def test_taken_port_ends_the_process_with_the_cause(tiny_model: Path, variant: Variant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--host", "127.0.0.1", "--port", str(port)]
        ended = subprocess.run(
            [sys.executable, "-m", "diffusion_serving", *flags],
            env={**os.environ, **configuration(tiny_model, variant), **STAND_IN},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode not in (0, 78)
    assert "address already in use" in ended.stdout.lower()
