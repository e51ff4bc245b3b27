"""The drain of a Ray node, without Ray: its replicas and its proxy are played."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from diffusion_serving.backends.rayserve.replica_link import (
    CountInFlight,
    Drain,
    Failed,
    GiveUp,
    InFlight,
    Loaded,
)
from diffusion_serving.backends.rayserve.supervisor import Supervisor
from diffusion_serving.observability.startup_errors import EngineHung


class Played:
    """A node with one replica, which has requests until a time and is asked for them."""

    def __init__(self, busy: float, arrivals: float = 0.0) -> None:
        self.begin = time.monotonic()
        self.busy, self.arrivals = busy, arrivals
        self.closed_at: float | None = None
        self.commands: list[Any] = []
        link: Any = self  # the node's end of the replica's link
        self.link = link
        node: Any = SimpleNamespace(check=lambda: None, close_proxy=self.close, proxy_runs=False)
        self.supervisor = Supervisor(node)
        self.supervisor._loaded.add(link)

    def passed(self) -> float:
        return time.monotonic() - self.begin

    def close(self) -> None:
        self.closed_at = self.passed()

    def send(self, command: Any) -> None:
        self.commands.append(command)
        if isinstance(command, CountInFlight):
            answer = InFlight(
                int(self.passed() < self.busy), max(0.0, self.passed() - self.arrivals)
            )
            self.supervisor.on_event(self.link, answer)

    def drain(self, **settings: Any) -> None:
        replicas: Any = SimpleNamespace(send=self.send, links={self.link})
        times = {"drain_seconds": 0.2, "drain_limit_seconds": 5.0, "grace_seconds": None} | settings
        times_of: Any = SimpleNamespace(**times)
        self.supervisor.drain(replicas, times_of)


def test_proxy_stays_open_while_requests_arrive() -> None:
    node = Played(busy=0.0, arrivals=0.8)
    node.drain()
    assert node.closed_at is not None
    assert node.closed_at >= 0.9
    assert node.commands[0] == Drain()
    assert GiveUp() not in node.commands


def test_requests_in_flight_are_waited_for() -> None:
    node = Played(busy=1.0)
    node.drain()
    assert 1.0 <= node.passed() < 5.0


def test_requests_that_outlast_the_grace_period_are_refused() -> None:
    node = Played(busy=60.0)
    node.drain(grace_seconds=1.0)
    assert GiveUp() in node.commands
    assert node.passed() < 10.0


def test_failed_replica_answers_its_requests_before_the_end() -> None:
    node = Played(busy=0.5)
    node.supervisor.on_event(node.link, Loaded("n"))
    node.supervisor.on_event(node.link, Failed(EngineHung("did not answer for 20 s")))
    with pytest.raises(EngineHung):
        node.supervisor.run()
    assert 0.5 <= node.passed() < 3.0
    assert node.closed_at is not None
