"""The HTTP client of a connection: the one below Locust's FastHttpUser.

The client has no cookies, redirects and retries: a request that is sent twice, or a failure that
a retry hides, would falsify the figures.
"""

import select
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import gevent.socket
from gevent.monkey import get_original
from gevent.ssl import SSLContext
from geventhttpclient.client import HTTPClient
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool

from diffusion_loadtest.target.trusted_authorities import tls_context

_BLOCK_BYTES = 65_536
# gevent's own waits, which a check of the present state has no use for
_new_poll = get_original("select", "poll")


class _Polling:
    """Checks an idle socket by poll(2).

    The client's own check is select(2), which fails from file descriptor 1024 on: each user beyond
    about a thousand would open a connection for every request.
    """

    def _is_socket_alive(self, sock: gevent.socket.socket | None) -> bool:
        """Whether the socket is open and has nothing to read: neither an end nor a stray byte."""
        if sock is None or sock.fileno() < 0:
            return False
        poll = _new_poll()
        poll.register(sock.fileno(), select.POLLIN)
        return not poll.poll(0)


class _Pool(_Polling, ConnectionPool):
    """A connection without TLS."""


class _TlsPool(_Polling, SSLConnectionPool):
    """A connection with TLS."""


class HttpClient(HTTPClient):
    """An HTTP client with one connection."""

    def __init__(self, host: str, port: int | None, timeout_seconds: float, *, tls: bool) -> None:
        super().__init__(
            host, port=port, ssl=tls, ssl_context_factory=_tls_context, block_size=_BLOCK_BYTES
        )
        timeouts: dict[str, Any] = {
            "connection_timeout": timeout_seconds,
            "network_timeout": timeout_seconds,
        }
        place = (host, self.port or 0, host, self.port or 0)
        self._connection_pool: ConnectionPool = (
            _TlsPool(*place, size=1, ssl_context_factory=_tls_context, **timeouts)
            if tls
            else _Pool(*place, size=1, **timeouts)
        )


def http_client(origin: str, timeout_seconds: float) -> HttpClient:
    """A client of the server at `origin`, which has a scheme, a host and maybe a port."""
    parts = urlsplit(origin)
    tls = parts.scheme == "https"
    return HttpClient(parts.hostname or "", parts.port, timeout_seconds, tls=tls)


@cache
def _tls_context(cafile: str | None = None) -> SSLContext:
    """The process's TLS settings: to read the authorities takes longer than a handshake."""
    return tls_context(cafile)
