"""One user's HTTP connection, timed exactly.

It is the client below Locust's FastHttpUser, without that one's cookies, redirects and retries: a
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


class NoAnswerError(Exception):
    """No whole answer came: `kind` is Timeout, ConnectionError or BrokenResponse (cut off)."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind
        self.why = why


class Answer(NamedTuple):
    """A whole answer, the seconds from the start of the request to its last byte, and what the
    target said in Server-Timing.
    """

    status: int
    body: bytes
    seconds: float
    server_timing: str | None


class Connection:
    """Sends one request at a time to `url` (with an optional path, which becomes a prefix).

    A connection is kept for CONNECTION_SECONDS, since a Service balances connections rather than
    requests: replicas that come or go meanwhile get their share. One that was idle for
    IDLE_SECONDS is not used again, as servers close theirs after about 5 s without a word.
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

    def post(self, path: str, body: bytes) -> Answer:
        return self.request("POST", path, body)

    def get(self, path: str) -> Answer:
        return self.request("GET", path, b"")

    def request(self, method: str, path: str, body: bytes) -> Answer:
        """The whole answer; raises NoAnswerError if none came within the timeout, all told."""
        started = time.perf_counter()
        client = self._open(started)
        answered = False
        timer = gevent.Timeout.start_new(self._timeout)
        try:
            response = client.request(method, self._prefix + path, body, self._headers)
            answered = True
            content = response.read()
            status = response.get_code()
            timing = response.get("server-timing")
        except BaseException as error:
            # whatever state the connection is in, also when the user is killed in mid-request
            self.close()
            failure = _failure(error, timer, answered)
            if failure is None:
                raise
            raise failure from None
        finally:
            timer.close()
        self._used = time.perf_counter()
        said = ",".join(timing) if isinstance(timing, list) else timing
        return Answer(status, content, self._used - started, said)

    def is_idle(self) -> bool:
        """Whether it is not worth keeping, and its next request would open another one."""
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


def _failure(error: BaseException, timer: object, answered: bool) -> NoAnswerError | None:
    """What kind of failure an exception of the transport is; None if it is none of them."""
    if error is timer or isinstance(error, TimeoutError):
        return NoAnswerError(TIMEOUT, "no whole answer within the timeout")
    if isinstance(error, HTTPConnectionClosed):
        return NoAnswerError(CONNECTION_ERROR, "the connection was closed before an answer")
    if isinstance(error, HTTPParseError):
        return NoAnswerError(BROKEN_RESPONSE, "the answer was cut off or is not HTTP")
    if isinstance(error, OSError):
        return NoAnswerError(
            BROKEN_RESPONSE if answered else CONNECTION_ERROR, error.strerror or str(error)
        )
    return None
