"""Bounds on the heads of requests, which need no key: their size, their time and their number."""

import asyncio
import time
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Limit of a request's head in bytes: that of uvicorn's other parser, within one socket read."""
HEAD_SECONDS = 10
"""The longest that a head may take from its first byte to its last."""
MAX_OPEN_HEADS = 1000
"""Connections without a complete head; one more closes the oldest of them."""
MAX_AGE_SECONDS = 600.0
"""Age at which a connection is closed with the next answer, so that clients meet new replicas."""

_TOO_LARGE = 431
_TOO_SLOW = 408


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol with bounds on heads, which alone it would hold for ever."""

    _open: ClassVar[dict["BoundedHeads", None]] = {}
    """Connections whose head isn't complete, the oldest first."""
    _begun = 0
    """Requests of this connection whose head has begun."""
    _in_head = True
    _arriving = False
    """Whether bytes have come since the last complete head."""
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._made = time.monotonic()
        # A connection made in advance may be idle as long as one that is kept.
        self._begin_head(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._arriving and (self.cycle is None or self.cycle.response_complete):
            self._arriving = True
            self._begin_head(HEAD_SECONDS)
        begun = self._begun
        super().data_received(data)
        # Bytes that end one request and begin the next count for neither.
        alone = self._in_head and self._begun == begun
        self._head_bytes = self._head_bytes + len(data) if alone else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self.refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._begun += 1
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = self._arriving = False
        self._end_head()
        super().on_headers_complete()
        if time.monotonic() - self._made > MAX_AGE_SECONDS:
            self.cycle.keep_alive = False

    def _begin_head(self, seconds: float) -> None:
        self._end_head()
        self._timer = self.loop.call_later(seconds, self.refuse, _TOO_SLOW)
        self._open[self] = None
        if len(self._open) > MAX_OPEN_HEADS:
            next(iter(self._open)).refuse(_TOO_SLOW)

    def _end_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._open.pop(self, None)

    def refuse(self, status: int) -> None:
        """Closes the connection, with an answer where a request has begun."""
        self._end_head()
        if self.transport.is_closing():
            return
        if self._begun and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(
                STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
        self.transport.close()
