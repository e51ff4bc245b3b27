"""A bound on the head of a request: its line and headers, which need no key."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Limit of a request's head in bytes: that of uvicorn's other parser, within one socket read."""

_TOO_LARGE = 431


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol with a bound on heads, which alone it would hold at any length."""

    _begun = 0
    """Requests of this connection whose head has begun."""
    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        begun = self._begun
        super().data_received(data)
        # Bytes that end one request and begin the next count for neither.
        alone = self._in_head and self._begun == begun
        self._head_bytes = self._head_bytes + len(data) if alone else 0
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(
                STATUS_LINE[_TOO_LARGE] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def on_message_begin(self) -> None:
        self._begun += 1
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
