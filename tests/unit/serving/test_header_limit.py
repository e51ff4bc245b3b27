"""The limits on the size, the time and the number of requests' heads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from diffusion_serving.http.server import header_limit
from diffusion_serving.http.server.header_limit import MAX_HEAD_BYTES, BoundedHeads

START = b"POST /length HTTP/1.1\r\nHost: x\r\n"
MIB = 1024 * 1024


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = Starlette(routes=[Route("/length", length, methods=["POST"])])
    config = uvicorn.Config(app, port=0, http=BoundedHeads, lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


async def answers(port: int, *pieces: bytes) -> bytes:
    """The server's responses until it closes, perhaps before the last piece is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b"closed"
    finally:
        writer.close()


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param([START, b"x: " + b"y" * 16 * MIB], id="header"),
        pytest.param([START, *[b"x: " + b"y" * 1000 + b"\r\n"] * 16_000], id="headers"),
        pytest.param([b"POST /", b"y" * 16 * MIB], id="line"),
    ],
)
async def test_a_head_without_end_is_cut_off(port: int, endless: list[bytes]) -> None:
    async with asyncio.timeout(30):
        received = await answers(port, *endless)
    assert received == b"closed" or received.startswith(b"HTTP/1.1 431 ")


async def test_a_body_does_not_count_as_head(port: int) -> None:
    body = b"z" * (4 * MAX_HEAD_BYTES)
    whole = START + b"Content-Length: %d\r\n" % len(body)
    last = whole + b"Connection: close\r\n\r\n" + body
    received = await answers(port, *[whole + b"\r\n" + body] * 4, last)
    assert received.count(b"HTTP/1.1 200 OK") == 5


async def test_many_small_heads_on_one_connection_are_not_counted_together(port: int) -> None:
    padded = START + b"x: " + b"y" * 500 + b"\r\nContent-Length: 0\r\n"
    requests = (padded + b"\r\n") * 300 + padded + b"Connection: close\r\n\r\n"
    pieces = [requests[at : at + 777] for at in range(0, len(requests), 777)]
    assert len(requests) > 2 * MAX_HEAD_BYTES
    assert (await answers(port, *pieces)).count(b"HTTP/1.1 200 OK") == 301


@pytest.mark.parametrize(
    "trickle",
    [
        pytest.param([b"P", b"O", b"S"] + [b"T"] * 60, id="line"),
        pytest.param([START] + [b"x: y\r\n"] * 60, id="headers"),
        pytest.param([b"\r\n"] * 60, id="empty lines"),
        pytest.param([START + b"Content-Length: 0\r\n\r\n"] + [b"P"] * 60, id="second head"),
    ],
)
async def test_a_slow_head_is_cut_off(
    port: int, trickle: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header_limit, "HEAD_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begin = asyncio.get_running_loop().time()
    with contextlib.suppress(ConnectionError):
        for piece in trickle:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
            if reader.at_eof():
                break
    with contextlib.suppress(ConnectionError):
        await reader.read()
    assert asyncio.get_running_loop().time() - begin < 2.0
    writer.close()


async def test_one_open_head_too_many_closes_the_oldest(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header_limit, "MAX_OPEN_HEADS", 3)
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
    assert await asyncio.wait_for(connections[0][0].read(), 5) == b""
    reader, writer = connections[3]
    writer.write(START + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    assert b"200 OK" in await asyncio.wait_for(reader.read(), 5)
    for _, writer in connections:
        writer.close()


async def test_an_old_connection_is_closed_with_its_next_answer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = START + b"Content-Length: 0\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    monkeypatch.setattr(header_limit, "MAX_AGE_SECONDS", 0.0)
    writer.write(request)
    assert b"connection: close" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
