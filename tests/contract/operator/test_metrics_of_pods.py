"""The operator's request for a pod's /metrics, over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from diffusion_operator.diffusionservice.scaling import pod_metrics as metrics_of_pods
from diffusion_operator.diffusionservice.scaling.pod_metrics import MOST_BYTES, read_metrics

POD = {"status": {"podIP": "127.0.0.1"}}


@asynccontextmanager
async def pod(monkeypatch: pytest.MonkeyPatch, pieces: Sequence[bytes]) -> AsyncIterator[None]:
    """Runs a pod that answers in these pieces, with a pause between them."""
    length = sum(map(len, pieces))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode())
        for piece in pieces:
            writer.write(piece)
            with suppress(ConnectionError):
                await writer.drain()
            with suppress(TimeoutError):  # a reader that expects more leaves the connection open
                await asyncio.wait_for(reader.read(), 0.2)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    monkeypatch.setattr(metrics_of_pods, "PORT", server.sockets[0].getsockname()[1])
    try:
        yield
    finally:
        server.close()


async def test_an_answer_in_pieces_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pod(monkeypatch, [b"up 1\ndiffusion_queue_len", b"gth 1", b"2\n"]):
        assert await read_metrics(POD) == "up 1\ndiffusion_queue_length 12\n"


async def test_an_answer_that_is_far_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pod(monkeypatch, [b"x" * (MOST_BYTES + 1)]):
        assert await read_metrics(POD) is None
