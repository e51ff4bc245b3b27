"""One user's connection to a real server: reuse, compression, and failures."""

import os
import time
from itertools import pairwise
from typing import Any

import pytest

from diffusion_loadtest.plan.load_plan import Connections
from diffusion_loadtest.target import connection as client
from diffusion_loadtest.target.about import about
from diffusion_loadtest.target.connection import Connection, NoResponseError
from diffusion_loadtest.target.readiness import wait_until_ready
from waiting import eventually

BODY = b'{"prompt": "a red circle"}'


def test_connection_is_kept_and_its_answers_are_timed_to_the_last_byte(serve: Any) -> None:
    server = serve(lambda _: (0.1, "ok"))
    with Connection(server.url, 5.0) as connection:
        connection.get(
            "/readyz"
        )  # the first request of a process also pays for set-up that others share
        begun = [time.perf_counter()]
        answers = []
        for _ in range(3):
            answers.append(connection.post("/predict", BODY))
            begun.append(time.perf_counter())
    assert server.connections == 1
    waits = [after - before for before, after in pairwise(begun)]
    for answer, seen, waited in zip(answers, server.served, waits, strict=True):
        assert (answer.status, len(answer.body) > 40_000) == (200, True)
        assert seen.delay < answer.seconds < waited


@pytest.mark.parametrize(
    ("reuse", "idle_seconds", "connections"),
    [
        ("PerRequest", 60.0, 4),
        (60.0, 60.0, 1),
        # older than a connection may be
        (1e-9, 60.0, 4),
        # idle for too long
        (60.0, 0.0, 4),
        ("Always", 0.0, 1),
    ],
)
def test_connection_is_reused_as_the_plan_says(
    serve: Any,
    monkeypatch: pytest.MonkeyPatch,
    reuse: Any,
    idle_seconds: float,
    connections: int,
) -> None:
    monkeypatch.setattr(client, "IDLE_SECONDS", idle_seconds)
    server = serve(lambda _: (0.0, "ok"))
    with Connection(server.url, 5.0, connections=Connections(reuse=reuse)) as connection:
        for _ in range(4):
            assert connection.post("/predict", BODY).status == 200
    assert server.connections == connections


def test_connection_is_reused_whatever_its_number_is(serve: Any) -> None:
    server = serve(lambda _: (0.0, "ok"))
    held: list[int] = []
    try:
        # select(2) fails from descriptor 1024 on, which a thousand other users use up
        while not held or held[-1] < 1100:
            held.append(os.open(os.devnull, os.O_RDONLY))
        with Connection(server.url, 5.0) as connection:
            for _ in range(3):
                assert connection.post("/predict", BODY).status == 200
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert server.connections == 1


def test_compressed_response_is_read_and_a_broken_one_is_a_failure(serve: Any) -> None:
    server = serve(lambda n: (0.0, ("ok", "gzip", "bad-gzip", "cut-gzip")[n]))
    with Connection(server.url, 5.0) as connection:
        plain, compressed = (connection.post("/predict", BODY) for _ in range(2))
        assert plain.content() == compressed.content()
        for _ in range(2):
            broken = connection.post("/predict", BODY)
            with pytest.raises(NoResponseError) as caught:
                broken.content()
            assert caught.value.kind == "BrokenResponse"


def test_connection_that_the_server_closed_is_no_failure_of_the_next_request(serve: Any) -> None:
    server = serve(lambda _: (0.0, "hangup"))
    with Connection(server.url, 5.0) as connection:
        for _ in range(5):
            assert connection.post("/predict", BODY).status == 200
            # The server's close arrives between two requests of the user.
            eventually(lambda: server.closed == server.connections, what="its end", every=0.005)
    assert server.connections == 5


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("cut", "BrokenResponse"), ("close", "ConnectionError"), ("stall", "Timeout")],
)
def test_missing_answer_is_a_failure_and_the_next_request_a_new_try(
    serve: Any, outcome: str, kind: str
) -> None:
    server = serve(lambda n: (0.0, "ok") if n else (60.0 if outcome == "stall" else 0.0, outcome))
    with Connection(server.url, 2.0) as connection:
        began = time.monotonic()
        with pytest.raises(NoResponseError) as caught:
            connection.post("/predict", BODY)
        assert caught.value.kind == kind
        assert time.monotonic() - began < 30
        # The client never repeats a request by itself.
        assert len(server.served) == 1
        assert connection.post("/predict", BODY).status == 200


def test_answer_that_trickles_in_is_timed_out_as_a_whole(serve: Any) -> None:
    server = serve(lambda _: (0.0, "trickle"))
    with Connection(server.url, 0.6) as connection:
        began = time.monotonic()
        with pytest.raises(NoResponseError) as caught:
            connection.post("/predict", BODY)
    assert caught.value.kind == "Timeout"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nowhere.invalid"])
def test_address_without_a_server_is_a_connection_error(url: str) -> None:
    with Connection(url, 60.0) as connection, pytest.raises(NoResponseError) as caught:
        connection.get("/readyz")
    assert caught.value.kind == "ConnectionError"


def test_path_of_the_address_is_a_prefix(serve: Any) -> None:
    server = serve(lambda _: (0.0, "ok"))
    with Connection(f"{server.url}/models/demo/", 2.0) as connection:
        assert connection.get("/readyz").status == 404
    assert server.paths == ["/models/demo/readyz"]


def test_target_without_probe_routes_is_ready_and_unknown(serve: Any) -> None:
    server = serve(lambda _: (0.0, "ok"))
    wait_until_ready(f"{server.url}/elsewhere", 1.0)
    assert about(server.url) is None
    assert about("http://127.0.0.1:9") is None
