"""The end of the server: its drain, its grace period, and the addresses that it listens on."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import httpx
import pytest
import uvicorn

from diffusion_serving.http.server.listener import listen, resolved
from diffusion_serving.http.server.uvicorn_host import Engines, _Host, _Server
from diffusion_serving.settings import Settings
from ports import free_port
from waiting import settled

MAKE = {"prompt": "x", "width": 64, "height": 64, "steps": 1}


class Hosted:
    """A server on a socket, in this process."""

    def __init__(self, stack: Any, **settings: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ready: Future[Any] = Future()
        ready.set_result(None)
        configured = replace(stack.service._settings, **settings)
        config = uvicorn.Config(stack.app, lifespan="off", log_config=None)
        life = contextlib.nullcontext()
        self.life = asyncio.ensure_future(
            _Host(
                _Server(config),
                listen("127.0.0.1", self.port),
                configured,
                stack.service,
                Engines(life, ready, Future()),
            ).run()
        )

    def terminate(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
async def hosted(make_stack: Callable[..., Any]) -> AsyncIterator[Callable[..., Hosted]]:
    """Starts servers, and waits for their ends."""
    servers: list[Hosted] = []

    def start(**settings: Any) -> Hosted:
        servers.append(Hosted(make_stack(), **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.life.cancel()
        await asyncio.wait([server.life])


async def closed(client: httpx.AsyncClient, path: str) -> None:
    """Requests the path again and again until the listener is closed."""
    with contextlib.suppress(httpx.TransportError):
        for _ in range(200):
            assert (await client.get(path)).headers["connection"] == "close"
            await asyncio.sleep(0.05)
        pytest.fail("the server stays open")


async def test_listener_stays_while_requests_arrive_and_closes_once_none_does(
    hosted: Callable[..., Hosted],
) -> None:
    server = hosted(drain_seconds=0.5, drain_limit_seconds=30.0)
    async with httpx.AsyncClient(base_url=server.url) as client:
        assert (await client.get("/about")).status_code == 200
        server.terminate()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            answer = await client.get("/about")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            await asyncio.sleep(0.1)
        await asyncio.wait_for(server.life, 10)
        with pytest.raises(httpx.ConnectError):
            await client.get("/about")


async def test_drain_has_a_limit_though_requests_arrive(hosted: Callable[..., Hosted]) -> None:
    server = hosted(drain_seconds=0.5, drain_limit_seconds=1.0)
    async with httpx.AsyncClient(base_url=server.url) as client:
        await client.get("/about")
        server.terminate()
        await closed(client, "/about")
    await asyncio.wait_for(server.life, 10)


async def test_probes_do_not_keep_the_listener(hosted: Callable[..., Hosted]) -> None:
    server = hosted(drain_seconds=0.5, drain_limit_seconds=30.0)
    async with httpx.AsyncClient(base_url=server.url) as client:
        await client.get("/about")
        server.terminate()
        await closed(client, "/readyz")
    await asyncio.wait_for(server.life, 10)


async def test_request_that_does_not_end_within_the_grace_period_is_refused(
    hosted: Callable[..., Hosted], pipeline: Any
) -> None:
    server = hosted(drain_seconds=0.0, grace_seconds=1.0)
    async with httpx.AsyncClient(base_url=server.url) as client:
        pipeline.hold()
        running = asyncio.ensure_future(client.post("/predict", json=MAKE))
        await settled(lambda: len(pipeline.prompts) == 1)
        begin = time.monotonic()
        server.terminate()
        answer = await running
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["content-type"] == "application/problem+json"
        assert 0.9 < time.monotonic() - begin < 10
        await asyncio.wait_for(server.life, 10)


async def test_client_that_reads_nothing_does_not_outlast_the_grace_period(
    hosted: Callable[..., Hosted], pipeline: Any
) -> None:
    server = hosted(drain_seconds=0.0, grace_seconds=0.5)
    pipeline.hold()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    await writer.drain()
    server.terminate()
    await asyncio.wait_for(server.life, 10)
    writer.close()


def test_server_listens_on_both_address_families_by_default() -> None:
    with listen(Settings.host, 0) as both:
        port = both.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        if socket.has_dualstack_ipv6() and resolved("") == "::":
            socket.create_connection(("::1", port), timeout=5).close()


def test_taken_port_is_an_error() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SystemExit):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_given_address_is_kept(host: str) -> None:
    assert resolved(host) == host
