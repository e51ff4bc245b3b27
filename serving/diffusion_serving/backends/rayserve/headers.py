"""What Ray Serve adds to answers and the other backends don't."""

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class WithoutRequestId:
    """Takes the header with Serve's own number of a request away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["X-Request-ID"]
            await send(message)

        await self._app(scope, receive, send_without)


def middlewares() -> list[Middleware]:
    """Ray Serve calls this where it starts a listener, and puts them around its own."""
    return [Middleware(WithoutRequestId)]
