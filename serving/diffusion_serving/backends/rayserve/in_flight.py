"""Who is inside a replica."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Guests:
    """ASGI middleware that counts the requests which are not answered to their end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.inside -= 1
