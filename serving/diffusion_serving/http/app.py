"""The routes as one ASGI application, for every framework that can carry it."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffusion_serving.http.auth import Guard
from diffusion_serving.http.documentation.openapi import ROUTES
from diffusion_serving.http.requests.image_request import Reader
from diffusion_serving.http.requests.predict import MAX_BODY_BYTES
from diffusion_serving.http.responses.event_stream import EventStream, asked_for
from diffusion_serving.http.responses.problems import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    ENGINE_FAILED,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
)
from diffusion_serving.http.responses.replies import JSON, Reply, refusal
from diffusion_serving.http.service import HANG_UP_STATUS, Service
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics

log = logging.getLogger(__name__)

BODY_SECONDS = 30.0
"""A client that takes longer for its body is cut off: it would keep a server from ending."""

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    service: Service, metrics: Metrics, kept: Mapping[str, ASGIApp] | None = None
) -> ASGIApp:
    """The ASGI application. The routes' description is the program's own, not FastAPI's.

    `kept` has the paths that a framework answers GET on by itself, with the application that does.
    """
    app = FastAPI(
        openapi_url=None,
        # Traces would record the messages of exceptions, which may quote a prompt.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            Exception: on_defect,
        },
    )
    for path, its_own in (kept or {}).items():
        app.router.routes.append(Route(path, its_own, methods=["GET"]))
    for (method, path), endpoint in endpoints(service).items():
        app.add_route(path, endpoint, [method], include_in_schema=False)
    guarded = Guard(app, service.keys) if service.keys else app
    return Observed(guarded, service, metrics)


def endpoints(service: Service) -> dict[tuple[str, str], Endpoint]:
    """The endpoint of each (method, path)."""

    async def root(_: Request) -> Response:
        return RedirectResponse("ui")

    def make_images(read: Reader) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            try:
                body = await read_body(request)
            except ClientDisconnect:
                return Response(status_code=HANG_UP_STATUS)
            accept = ",".join(request.headers.getlist("accept")) or None
            hang_up = partial(_hang_up, request)
            if request.url.path == "/predict" and asked_for(accept):
                return await _streamed(service.told(service.order(read, body, None), hang_up))
            return respond(await service.make_images(read, body, accept, hang_up))

        return endpoint

    async def metrics(_: Request) -> Response:
        return respond(await service.metrics())

    async def about(_: Request) -> Response:
        return respond(await service.about())

    def get(answer: Callable[[], Reply]) -> Endpoint:
        async def endpoint(_: Request) -> Response:
            return respond(answer())

        return endpoint

    return {
        ("GET", "/"): root,
        **{("POST", path): make_images(read) for path, read in service.readers.items()},
        ("GET", "/v1/models"): get(service.models),
        ("GET", "/healthz"): get(service.healthz),
        ("GET", "/readyz"): get(service.readyz),
        ("GET", "/metrics"): metrics,
        ("GET", "/about"): about,
        ("GET", "/docs"): get(service.docs),
        **{("GET", path): get(partial(_same, reply)) for path, reply in service.page.items()},
        ("GET", "/openapi.json"): get(service.openapi),
    }


def _same(reply: Reply) -> Reply:
    return reply


def respond(reply: Reply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers), reply.media_type)


async def read_body(request: Request) -> bytes:
    """The body, of which never more than the limit is held.

    Raises:
        Problem: 415 if it is not JSON by its headers, 413 if it is too large, 408 if it is slow.
        ClientDisconnect: the client left before the end.

    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media != JSON or "content-encoding" in request.headers:
        said = f"It is {media!r}." if media else "It has no Content-Type."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, f"{said} {UNSUPPORTED_MEDIA_TYPE.advice}")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise Problem(
            BODY_TIMEOUT,
            f"It was not there after {BODY_SECONDS:g} s. {BODY_TIMEOUT.advice}",
            headers={"Connection": "close"},
        ) from None
    return bytes(body)


async def _streamed(events: AsyncIterator[bytes]) -> Response:
    """The events as they come. Until the first a request is refused with a status, as any other.

    Raises:
        Problem: nothing was made.

    """
    first = await anext(events, None)
    if first is None:
        return Response(status_code=HANG_UP_STATUS)
    return EventStream(first, events)


def _too_large() -> Problem:
    return Problem(
        BODY_TOO_LARGE, f"At most {MAX_BODY_BYTES} bytes are read. {BODY_TOO_LARGE.advice}"
    )


async def _hang_up(request: Request) -> None:
    """Returns when the client has closed its connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refused(request: Request, problem: Problem) -> Response:
    return respond(refusal(request.scope["path"], problem))


async def on_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return _refused(request, error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The framework's own refusals, of an unknown route or method, as problem documents."""
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    allowed = [method for method, path in ROUTES if path == request.url.path]
    if allowed:
        headers["Allow"] = ", ".join(allowed)
        detail = f"{request.method} is not served here; use {headers['Allow']}."
        return _refused(request, Problem(METHOD_NOT_ALLOWED, detail, headers=headers))
    known = ", ".join(f"{method} {path}" for method, path in ROUTES)
    detail = f"The routes are {known}."
    return _refused(request, Problem(NOT_FOUND, detail, headers=headers))


async def on_defect(request: Request, error: Exception) -> Response:
    """A defect of this program: the client gets an id, the log gets the place."""
    error_id = uuid.uuid4().hex[:12]
    log.error("a request failed", extra={"error_id": error_id} | failure_fields(error))
    detail = f"The server failed on this request (error {error_id}). {ENGINE_FAILED.advice}"
    return _refused(request, Problem(ENGINE_FAILED, detail, error_id=error_id))


class Observed:
    """ASGI middleware around everything: metrics, the access log, and `Connection: close`.

    Neither the log nor a metric has the query or an unknown path, which could hold a prompt.
    """

    _QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

    def __init__(self, app: ASGIApp, service: Service, metrics: Metrics) -> None:
        self._app = app
        self._service = service
        self._metrics = metrics
        self._paths = frozenset(path for _, path in ROUTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.monotonic()
        status = 0

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._service.draining:
                    message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except Exception as error:
            if not status:
                raise
            # Starlette raises it again for the server to log, which would log the message too.
            log.debug("answered with an error", extra=failure_fields(error))
        finally:
            self._observe(scope, status, time.monotonic() - begin)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        log.log(
            logging.DEBUG if route in self._QUIET else logging.INFO,
            "request",
            extra={
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
            },
        )
