"""Order of the work of one process: responses are read before others are checked."""

import socket
from random import Random
from typing import Any

import gevent
import pytest
from gevent.socket import wait_read

from diffusion_loadtest.load import request_sender
from diffusion_loadtest.load.load_level import LoadLevel
from diffusion_loadtest.load.request_sender import RequestSender
from diffusion_loadtest.measure.response_check import BadResponseError
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.target.connection import NoResponseError, Response

BATCH = 20


class Reading:
    """A connection whose response is there once its socket can be read."""

    def __init__(self, events: list[str], failure: Exception | None = None) -> None:
        self.ours, self._theirs = socket.socketpair()
        self._events, self._failure = events, failure

    def respond(self) -> None:
        self._theirs.send(b"x")

    def post(self, *_: object) -> Response:
        wait_read(self.ours.fileno())
        self._events.append("read")
        if self._failure is not None:
            raise self._failure
        return Response(200, b"{}", 0.2, None, "demo-a")

    def close(self) -> None:
        self.ours.close()
        self._theirs.close()


@pytest.fixture
def sender() -> RequestSender:
    plan = {
        "test": {"name": "demo", "namespace": "default", "run": "abc"},
        "target": {"url": "http://demo"},
        "users": {"stages": [{"users": 8, "durationSeconds": 60.0}], "spawnRate": 100.0},
    }
    sender = RequestSender(LoadPlan.model_validate(plan), ("a red circle",), None)
    sender.begin()
    return sender


def sent(sender: RequestSender, connections: list[Reading]) -> None:
    """Sends a request on each connection; all responses arrive at once."""
    level = LoadLevel(stage=0, users=len(connections))
    send: Any = sender.send  # on a connection without a client
    requests = [gevent.spawn(send, connection, Random(1), level) for connection in connections]
    gevent.idle()
    for connection in connections:
        connection.respond()
    gevent.joinall(requests, raise_error=True)
    for connection in connections:
        connection.close()


def test_batch_of_responses_is_read_before_any_of_them_is_checked(
    sender: RequestSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr(request_sender, "check_response", lambda *_: events.append("check"))
    sent(sender, [Reading(events) for _ in range(BATCH)])
    assert events == ["read"] * BATCH + ["check"] * BATCH
    assert [sample.replica for sample in sender.samples] == ["demo-a"] * BATCH
    assert sender.samples.latencies() == [0.2] * BATCH


def test_failures_are_counted_and_the_first_of_each_kind_is_logged(
    sender: RequestSender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = iter((BadResponseError("WrongImage", "too small"), ValueError("a bug")))

    def failing(*_: object) -> None:
        raise next(outcomes)

    monkeypatch.setattr(request_sender, "check_response", failing)
    missing = Reading([], NoResponseError("Timeout", "no whole response"))
    sent(sender, [missing, Reading([], ValueError("a bug")), Reading([]), Reading([])])
    kinds = sender.samples.failures_by_kind()
    assert kinds == {"Timeout": 1, "ClientError": 2, "WrongImage": 1}
    logged = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [line.split()[3] for line in sorted(logged)] == sorted(kinds)
