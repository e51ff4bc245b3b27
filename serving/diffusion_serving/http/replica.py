"""Name of the replica, which each of its responses has in a header.

A Service in front of several replicas hides from a client which of them it has reached, so that
nobody could see that one of them gets more than its share.
"""

import socket

from starlette.types import ASGIApp, Message, Receive, Scope, Send

REPLICA_HEADER = "Diffusion-Replica"
_HOST_NAME_LETTERS = 63
"""Letters of a pod's name that its host name has room for."""


def replica_name() -> str:
    """Returns the pod's name; an address makes a cut name unique, whose end alone differs."""
    name = socket.gethostname()
    if len(name) < _HOST_NAME_LETTERS:
        return name
    try:
        address = socket.getaddrinfo(name, None)[0][4][0]
    except OSError:
        return name  # a name without an address is no reason to serve nothing
    return f"{name}-{address}"


class ReplicaNamer:
    """ASGI middleware that adds the replica's name to each response."""

    def __init__(self, app: ASGIApp, replica: str) -> None:
        self._app = app
        self._header = (REPLICA_HEADER.lower().encode(), replica.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_name(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._header]
            await send(message)

        await self._app(scope, receive, send_with_name)
