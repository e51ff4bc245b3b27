"""The requests in flight inside a replica."""

from starlette.types import ASGIApp, Receive, Scope, Send


class InFlightCounter:
    """ASGI middleware that counts the requests whose responses are not complete."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.in_flight -= 1
