"""Server-sent events: the steps of a request as they are made, then its images.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"


def event(name: str, data: bytes) -> bytes:
    """One event; `data` is JSON without line breaks."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def step_event(step: int, steps: int) -> bytes:
    """So many of the denoising steps are done."""
    return event("step", json.dumps({"step": step, "steps": steps}).encode())


def asked_for(accept: str | None) -> bool:
    """Whether a client accepts events, which only one that reads them says."""
    media = (part.split(";")[0].strip().lower() for part in (accept or "").split(","))
    return MEDIA_TYPE in media


class EventStream(Response):
    """Sends events as they come, of which the first is there.

    Starlette's own streaming response would watch for the client's leaving as well as the service
    does, and a server tells of it only once.
    """

    media_type = MEDIA_TYPE

    def __init__(self, first: bytes, events: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async for chunk in self._events:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
