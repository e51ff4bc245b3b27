"""ASGI middleware around the application: metrics, the access log and `Connection: close`."""

import logging
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion_serving.http.route_table import FOLDERS, ROUTES
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics

log = logging.getLogger("diffusion_serving")

_PATHS = frozenset(route.path for route in ROUTES)
_PROBES = frozenset(route.path for route in ROUTES if route.is_probe)


def _without_slash(scope: Scope) -> Scope:
    """Returns the scope of the known path without the slash that ends it."""
    path = scope["path"].rstrip("/")
    if path == scope["path"] or path not in _PATHS or scope["path"] in FOLDERS:
        return scope
    return {**scope, "path": path, "raw_path": path.encode()}


class RequestRecorder:
    """Records each request in the metrics and the log, and closes connections while draining.

    `on_request` is called at each request that is no probe. Neither the log nor a metric has the
    query or an unknown path, which could hold a prompt.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        is_draining: Callable[[], bool],
        on_request: Callable[[], None],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._is_draining = is_draining
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _without_slash(scope)
        begin = time.monotonic()
        status = 0
        if scope["path"] not in _PROBES:
            self._on_request()

        async def recording_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._is_draining():
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, recording_send)
        except Exception as error:
            if not status:
                raise
            # Starlette raises it again for the server to log, which would log the message too.
            log.debug("answered with an error", extra=failure_fields(error))
        finally:
            self._record(scope, status, time.monotonic() - begin)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in _PATHS else "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        log.log(
            logging.DEBUG if route in _PROBES else logging.INFO,
            "request",
            extra={
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
            },
        )
