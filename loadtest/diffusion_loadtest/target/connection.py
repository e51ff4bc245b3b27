"""One user's HTTP connection, timed exactly."""

import time
import zlib
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import gevent
from geventhttpclient.response import (
    HTTPConnectionClosed,
    HTTPParseError,
    HTTPSocketPoolResponse,
)

from diffusion_loadtest.plan.load_plan import Connections
from diffusion_loadtest.target.http_client import HttpClient, http_client
from diffusion_loadtest.target.retry_after import UNSTATED_SECONDS, retry_after_seconds

TIMEOUT = "Timeout"
CONNECTION_ERROR = "ConnectionError"
BROKEN_RESPONSE = "BrokenResponse"

IDLE_SECONDS = 2.0
"""The time after which an idle connection is not reused: servers close one after about 5 s."""
REPLICA_HEADER = "diffusion-replica"
"""The header with the name of the replica that responds."""
_LONGEST_REPLICA = 253
_HEADERS = {
    "User-Agent": "diffusion-loadtest",
    "Content-Type": "application/json",
    "Accept": "application/json",
    # otherwise a server may compress; images don't get smaller, and compression takes its time
    "Accept-Encoding": "identity",
}
_MOST_BYTES = 256 * 2**20


class NoResponseError(Exception):
    """No whole response arrived; `kind` is Timeout, ConnectionError or BrokenResponse."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Response(NamedTuple):
    """A whole response.

    `seconds` counts from the start of the request to the response's last byte. `replica` is the
    name of the replica that responded; None if the server sends none. `body` is as it came.
    """

    status: int
    body: bytes
    seconds: float
    server_timing: str | None
    replica: str | None = None
    encoding: str | None = None

    def content(self) -> bytes:
        """The body without its gzip; a server may compress although it was asked not to.

        Raises:
            NoResponseError: The body is no whole gzip, or larger than a response may be.
        """
        if self.encoding is None or self.encoding.strip().lower() not in {"gzip", "x-gzip"}:
            return self.body
        decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            content = decoder.decompress(self.body, _MOST_BYTES)
        except zlib.error:
            raise NoResponseError(BROKEN_RESPONSE, "the response is not gzip") from None
        if not decoder.eof:
            raise NoResponseError(BROKEN_RESPONSE, "the response's gzip is cut off or too large")
        return content


class Connection:
    """Sends one request at a time to `url` (with an optional path, which becomes a prefix).

    A Service balances connections rather than requests, so that their reuse decides how evenly
    replicas are loaded. A connection is reused as the plan says, and not after IDLE_SECONDS unless
    the plan says `Always`.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float,
        api_key: str | None = None,
        connections: Connections | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._headers = _HEADERS | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._prefix = parts.path.rstrip("/")
        self._origin = f"{parts.scheme}://{parts.netloc}/"
        self._timeout = timeout_seconds
        self._reuse = (connections or Connections()).reuse
        self._client: HttpClient | None = None
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

    retry_after_seconds = UNSTATED_SECONDS
    """The pause that the last response asks for, should it be a refusal."""

    def post(self, path: str, body: bytes) -> Response:
        return self.request("POST", path, body)

    def get(self, path: str) -> Response:
        return self.request("GET", path, b"")

    def request(self, method: str, path: str, body: bytes) -> Response:
        """Sends a request; raises NoResponseError if no whole response arrives in time."""
        self.retry_after_seconds = UNSTATED_SECONDS
        start = time.perf_counter()
        client = self._open(start)
        has_response = False
        timer = gevent.Timeout.start_new(self._timeout)
        try:
            response = client.request(method, self._prefix + path, body, self._headers)
            has_response = True
            self.retry_after_seconds = retry_after_seconds(response.get("retry-after"))
            content = response.read()
            status = response.get_code()
            encoding = _header(response, "content-encoding")
            timing, replica = _header(response, "server-timing"), _header(response, REPLICA_HEADER)
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
        if self._reuse == "PerRequest":
            self.close()
        return Response(
            status,
            content,
            self._used - start,
            timing,
            replica and replica[:_LONGEST_REPLICA],
            encoding,
        )

    def is_idle(self) -> bool:
        """Whether the connection is idle too long, so that the next request opens another."""
        return self._reuse != "Always" and time.perf_counter() - self._used > IDLE_SECONDS

    def _open(self, now: float) -> HttpClient:
        if self._client is not None and (self.is_idle() or self._is_old(now)):
            self.close()
        if self._client is None:
            self._client = http_client(self._origin, self._timeout)
            self._opened = self._used = now
        return self._client

    def _is_old(self, now: float) -> bool:
        return not isinstance(self._reuse, str) and now - self._opened > self._reuse

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _header(response: HTTPSocketPoolResponse, name: str) -> str | None:
    """The value of a header; several lines of one name are a list."""
    value = response.get(name)
    return ",".join(value) if isinstance(value, list) else value


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
