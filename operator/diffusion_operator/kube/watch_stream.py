"""Watch stream: the lines of a watch's response, until it ends or stays silent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import suppress

# The API server sends a bookmark about once a minute; a watch that stays silent for longer is dead.
SILENT_SECONDS = 70.0


async def until_silent(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Chunks until none comes for `SILENT_SECONDS`.

    aiohttp's own limit isn't enough: it never ends a body with a malformed chunk, as a proxy sends
    that appends its error page (3.14).
    """
    iterator = aiter(chunks)
    with suppress(StopAsyncIteration, TimeoutError):
        while True:
            async with asyncio.timeout(SILENT_SECONDS):
                chunk = await anext(iterator)
            yield chunk


async def lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """Lines of any length; the last one may lack its end."""
    parts: list[bytes] = []
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            yield b"".join([*parts, line])
            parts = []
        parts.append(rest)
    if any(parts):
        yield b"".join(parts)
