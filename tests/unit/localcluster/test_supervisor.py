import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster import components, processes
from localcluster.components import Component
from localcluster.supervisor import Charge, reached

SLEEP = Component("sleeper", ("sleep", "600"))


def until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.01)


def test_the_pause_before_a_start_grows_with_each_short_run_and_has_an_end() -> None:
    charge = Charge(SLEEP)
    pauses = []
    for _ in range(7):
        charge.started_at = 100.0
        charge.ended(1, now=101.0)
        pauses.append(charge.not_before - 101.0)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_long_run_resets_the_pause() -> None:
    charge = Charge(SLEEP, pause=10.0, started_at=100.0)
    charge.ended(1, now=131.0)
    assert charge.not_before == 131.5


def test_a_component_is_due_only_when_its_dependency_answers(tmp_path: Path) -> None:
    address = tmp_path / "socket"
    charge = Charge(Component("client", ("true",), f"unix:{address}"))
    assert not charge.due(now=0.0)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()
        assert charge.due(now=0.0)


def test_a_port_is_reached_when_a_server_listens() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        assert not reached(address)
        server.listen()
        assert reached(address)


class Running:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localcluster.supervisor", str(root)],
            env={**os.environ, **processes.mark(root)},
            cwd=Path(components.__file__).parent.parent,
        )

    def status(self) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads((self.root / "supervisor.json").read_text())
        except FileNotFoundError:
            return {}
        return value

    def pids(self, program: str) -> list[int]:
        marked = processes.marked(self.root)
        return [pid for pid in marked if processes.arguments(pid)[:1] == [program]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*listed: Component) -> Running:
        for folder in ("run", "logs"):
            (tmp_path / folder).mkdir()
        (tmp_path / "components.json").write_text(components.to_json(listed))
        started.append(Running(tmp_path))
        return started[-1]

    yield run
    for running in started:
        running.process.kill()
        running.process.wait()


def test_a_killed_component_is_started_again(start: Callable[..., Running]) -> None:
    running = start(SLEEP)
    until(lambda: len(running.pids("sleep")) == 1, "the component")
    (first,) = running.pids("sleep")
    os.kill(first, signal.SIGKILL)
    until(lambda: running.status()["sleeper"]["starts"] == 2, "another start")
    state = running.status()["sleeper"]
    assert state == {"running": True, "starts": 2, "lastExit": -signal.SIGKILL}
    until(lambda: running.pids("sleep") not in ([], [first]), "another process")


def test_components_die_with_a_killed_supervisor(start: Callable[..., Running]) -> None:
    running = start(SLEEP)
    until(lambda: len(running.pids("sleep")) == 1, "the component")
    running.process.kill()
    running.process.wait()
    until(lambda: processes.marked(running.root) == [], "everything to end")


def test_sigterm_does_not_end_the_supervisor(start: Callable[..., Running]) -> None:
    running = start(SLEEP)
    until(lambda: len(running.pids("sleep")) == 1, "the component")
    (pid,) = running.pids("sleep")
    running.process.send_signal(signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)  # components end by this signal
    until(lambda: running.status()["sleeper"]["starts"] == 2, "another start")
    assert running.process.poll() is None


def test_a_components_output_is_in_its_log(start: Callable[..., Running]) -> None:
    running = start(Component("talker", ("sh", "-c", "echo out; echo err >&2; exit 3")))
    log = running.root / "logs" / "talker.log"
    until(lambda: log.exists() and log.read_text().startswith("out\nerr\n"), "the log")
    until(lambda: running.status()["talker"]["lastExit"] == 3, "the exit code")


def test_every_marked_process_is_ended_and_no_other(tmp_path: Path) -> None:
    environment = {**os.environ, **processes.mark(tmp_path)}
    ours = [subprocess.Popen(["sleep", "600"], env=environment) for _ in range(2)]
    other_mark = processes.mark(tmp_path / "other")
    with subprocess.Popen(["sleep", "600"], env={**os.environ, **other_mark}) as other:
        try:
            marked = {process.pid for process in ours}
            until(lambda: set(processes.marked(tmp_path)) == marked, "both to be seen")
            assert processes.end(tmp_path) == 2
            assert [process.wait() for process in ours] == [-signal.SIGKILL] * 2
            assert other.poll() is None
        finally:
            other.kill()
