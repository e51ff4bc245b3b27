"""Reads request bodies within bounds of size and time."""

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from starlette.requests import Request

from diffusion_serving.http.responses.problems import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
)
from diffusion_serving.http.responses.replies import JSON

MAX_BODY_BYTES = 1024 * 1024
"""Far more than two prompts of the longest length that a configuration can allow."""

BODY_SECONDS = 30.0
"""A client that takes longer for its body is cut off: it would keep a server from ending."""


@dataclass(frozen=True, slots=True)
class BodyKind:
    """The bodies that a route takes: their media types, their size, and advice about both."""

    media_types: AbstractSet[str]
    max_bytes: int
    type_advice: str
    size_advice: str


JSON_BODY = BodyKind(
    frozenset({JSON}), MAX_BODY_BYTES, UNSUPPORTED_MEDIA_TYPE.advice, BODY_TOO_LARGE.advice
)


async def read_body(request: Request, kind: BodyKind = JSON_BODY) -> bytes:
    """Reads the body, of which never more than the kind's size is held.

    Raises:
        Problem: 415 if its media type is another, 413 if it is too large, 408 if it is slow.
        ClientDisconnect: the client left before the end.

    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media not in kind.media_types or "content-encoding" in request.headers:
        reason = f"The Content-Type is {media!r}." if media else "The request has no Content-Type."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"{reason} {kind.type_advice}")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > kind.max_bytes:
        raise _too_large(kind)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > kind.max_bytes:
                    raise _too_large(kind)
    except TimeoutError:
        raise Problem(
            BODY_TIMEOUT,
            f"The body was not complete after {BODY_SECONDS:g} s. {BODY_TIMEOUT.advice}",
            headers={"Connection": "close"},
        ) from None
    return bytes(body)


def _too_large(kind: BodyKind) -> Problem:
    return Problem(BODY_TOO_LARGE, f"At most {kind.max_bytes} bytes are read. {kind.size_advice}")
