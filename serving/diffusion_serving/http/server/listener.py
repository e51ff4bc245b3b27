"""The socket that the server listens on: of IPv4 and IPv6 together where no address is given."""

import logging
import socket

log = logging.getLogger("diffusion_serving")

_BACKLOG = 2048
"""Connections that wait while this process has no core."""
_ALL_IPV6, _ALL_IPV4 = "::", "0.0.0.0"  # noqa: S104 - a container serves its pod's addresses


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; `host` empty or `::` is every address of both families.

    Raises:
        SystemExit: with 1 if the port is taken or the address is not this machine's.

    """
    try:
        return _bound(resolved(host), port)
    except OSError as error:
        log.error(  # noqa: TRY400 - the place in this program explains nothing
            "cannot listen", extra={"host": host, "port": port, "cause": error.strerror}
        )
        raise SystemExit(1) from None


def resolved(host: str) -> str:
    """Returns the address to bind; for none given, `::` where the machine has IPv6."""
    if host:
        return host
    try:
        _bound(_ALL_IPV6, 0).close()
    except OSError:
        return _ALL_IPV4
    return _ALL_IPV6


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(
        (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == _ALL_IPV6
    )
