"""Server-sent events: each step of a request, then its images.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"


def event(name: str, data: bytes) -> bytes:
    """Formats an event; `data` is JSON without line breaks."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def step_event(step: int, steps: int) -> bytes:
    """Returns the event that a denoising step is done."""
    return event("step", json.dumps({"step": step, "steps": steps}).encode())


def accepts_events(accept: str | None) -> bool:
    """Returns whether a client names events in its Accept header, not just `*/*`."""
    media = (part.split(";")[0].strip().lower() for part in (accept or "").split(","))
    return MEDIA_TYPE in media


class EventStream(Response):
    """A response that sends events as they come; the first one is known.

    Starlette's own streaming response would also wait for the client's disconnect, as the service
    does, and a server reports a disconnect only once.
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
