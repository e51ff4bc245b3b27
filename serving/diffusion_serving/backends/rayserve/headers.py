"""Response headers that Ray Serve adds and the other backends don't."""

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class WithoutRequestId:
    """ASGI middleware that removes the header with Serve's own request id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["X-Request-ID"]
            await send(message)

        await self._app(scope, receive, send_without)


def middlewares() -> list[Middleware]:
    """Returns the middlewares that Ray Serve puts around each of its listeners."""
    return [Middleware(WithoutRequestId)]
