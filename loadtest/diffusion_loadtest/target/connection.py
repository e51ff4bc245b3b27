"""One user's HTTP connection, timed exactly.

The client is the one below Locust's FastHttpUser, without its cookies, redirects and retries: a
request that is sent twice, or a failure that a retry hides, would falsify the figures.
"""

import time
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import gevent
from geventhttpclient.client import HTTPClient
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError

TIMEOUT = "Timeout"
CONNECTION_ERROR = "ConnectionError"
BROKEN_RESPONSE = "BrokenResponse"

CONNECTION_SECONDS = 10.0
IDLE_SECONDS = 2.0
_BLOCK_BYTES = 65_536
_HEADERS = {
    "User-Agent": "diffusion-loadtest",
    "Content-Type": "application/json",
    "Accept": "application/json",
}


class NoResponseError(Exception):
    """No whole response arrived; `kind` is Timeout, ConnectionError or BrokenResponse."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Response(NamedTuple):
    """A whole response.

    `seconds` counts from the start of the request to the response's last byte.
    """

    status: int
    body: bytes
    seconds: float
    server_timing: str | None


class Connection:
    """Sends one request at a time to `url` (with an optional path, which becomes a prefix).

    A connection is kept for CONNECTION_SECONDS: a Service balances connections rather than
    requests, so new replicas get their share only from new connections. A connection idle for
    IDLE_SECONDS is not reused, since servers close an idle one after about 5 s.
    """

    def __init__(self, url: str, timeout_seconds: float, api_key: str | None = None) -> None:
        parts = urlsplit(url)
        self._headers = _HEADERS | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._prefix = parts.path.rstrip("/")
        self._origin = f"{parts.scheme}://{parts.netloc}/"
        self._timeout = timeout_seconds
        self._client: HTTPClient | None = None
        self._opened = self._used = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def post(self, path: str, body: bytes) -> Response:
        return self.request("POST", path, body)

    def get(self, path: str) -> Response:
        return self.request("GET", path, b"")

    def request(self, method: str, path: str, body: bytes) -> Response:
        """Sends a request; raises NoResponseError if no whole response arrives in time."""
        start = time.perf_counter()
        client = self._open(start)
        has_response = False
        timer = gevent.Timeout.start_new(self._timeout)
        try:
            response = client.request(method, self._prefix + path, body, self._headers)
            has_response = True
            content = response.read()
            status = response.get_code()
            timing = response.get("server-timing")
        except BaseException as error:
            # the connection's state is unknown, also when the user is killed in mid-request
            self.close()
            failure = _failure(error, timer, has_response)
            if failure is None:
                raise
            raise failure from None
        finally:
            timer.close()
        self._used = time.perf_counter()
        server_timing = ",".join(timing) if isinstance(timing, list) else timing
        return Response(status, content, self._used - start, server_timing)

    def is_idle(self) -> bool:
        """Whether the connection is idle too long, so that the next request opens another."""
        return time.perf_counter() - self._used > IDLE_SECONDS

    def _open(self, now: float) -> HTTPClient:
        if self._client is not None and (
            now - self._opened > CONNECTION_SECONDS or now - self._used > IDLE_SECONDS
        ):
            self.close()
        if self._client is None:
            self._client = HTTPClient.from_url(
                self._origin,
                block_size=_BLOCK_BYTES,
                connection_timeout=self._timeout,
                network_timeout=self._timeout,
            )
            self._opened = self._used = now
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _failure(error: BaseException, timer: object, has_response: bool) -> NoResponseError | None:
    """The failure for an exception of the transport; None for any other exception."""
    if error is timer or isinstance(error, TimeoutError):
        return NoResponseError(TIMEOUT, "no whole response within the timeout")
    if isinstance(error, HTTPConnectionClosed):
        return NoResponseError(CONNECTION_ERROR, "the connection was closed before a response")
    if isinstance(error, HTTPParseError):
        return NoResponseError(BROKEN_RESPONSE, "the response was cut off or is not HTTP")
    if isinstance(error, OSError):
        return NoResponseError(
            BROKEN_RESPONSE if has_response else CONNECTION_ERROR, error.strerror or str(error)
        )
    return None
