"""The routes as one ASGI application, for every framework that can carry it."""

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from diffusion_serving.http.auth import Guard
from diffusion_serving.http.middleware import RequestRecorder
from diffusion_serving.http.replica import ReplicaNamer, replica_name
from diffusion_serving.http.requests.read_body import read_body
from diffusion_serving.http.responses.event_stream import EventStream, accepts_events
from diffusion_serving.http.responses.problems import (
    ENGINE_FAILED,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    Problem,
)
from diffusion_serving.http.responses.replies import Reply, refusal
from diffusion_serving.http.route_table import FOLDERS, ROUTES, Endpoint
from diffusion_serving.http.service import HANG_UP_STATUS, Service
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics

log = logging.getLogger("diffusion_serving")

Handler = Callable[[Request], Awaitable[Response]]


def create_app(
    service: Service, metrics: Metrics, kept: Mapping[str, ASGIApp] | None = None
) -> ASGIApp:
    """Returns the ASGI application. Its OpenAPI document is the program's own, not FastAPI's.

    `kept` has the paths on which a framework itself answers GET, each with its application.
    """
    app = FastAPI(
        openapi_url=None,
        # A redirect would name an address that a proxy in front has changed: scheme and prefix.
        redirect_slashes=False,
        # Traces would record the messages of exceptions, which may quote a prompt.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        exception_handlers={
            Problem: on_problem,
            HTTPException: on_http_exception,
            Exception: on_unhandled_exception,
        },
    )
    for path, application in (kept or {}).items():
        answers = _with_head(application)
        app.router.routes.append(StarletteRoute(path, answers, methods=["GET"]))
    handlers = _handlers(service)
    for route in ROUTES:
        handler = handlers[route.endpoint]
        app.add_route(route.path, handler, [route.method], include_in_schema=False)
    for folder in FOLDERS:
        app.add_route(folder, _to_page(folder), ["GET"], include_in_schema=False)
    guarded = Guard(app, service.keys) if service.keys else app
    recorded = RequestRecorder(guarded, metrics, lambda: service.draining, service.arrive)
    return ReplicaNamer(recorded, replica_name()) if service.is_replica else recorded


def _to_page(folder: str) -> Handler:
    """Returns the handler of a page's path with a slash, which leads to the page."""

    async def handler(_: Request) -> Response:
        return RedirectResponse(f"..{folder.rstrip('/')}")

    return handler


def _with_head(application: ASGIApp) -> ASGIApp:
    """Returns the application, which also answers HEAD: its own routes may take GET alone."""

    class WithHead:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            # The server itself leaves the body out of the response to HEAD.
            await application({**scope, "method": "GET"}, receive, send)

    return WithHead()


def _handlers(service: Service) -> dict[Endpoint, Handler]:
    """Returns the handler of each endpoint."""

    async def root(_: Request) -> Response:
        return RedirectResponse("ui")

    async def predict(request: Request) -> Response:
        return await _generate(service, Endpoint.PREDICT, request, can_stream=True)

    async def openai_images(request: Request) -> Response:
        return await _generate(service, Endpoint.OPENAI_IMAGES, request, can_stream=False)

    async def metrics(_: Request) -> Response:
        return respond(await service.metrics())

    async def about(_: Request) -> Response:
        return respond(await service.about())

    async def ui(request: Request) -> Response:
        return respond(service.page[request.scope["path"]])

    def get(answer: Callable[[], Reply]) -> Handler:
        async def handler(_: Request) -> Response:
            return respond(answer())

        return handler

    return {
        Endpoint.ROOT: root,
        Endpoint.PREDICT: predict,
        Endpoint.OPENAI_IMAGES: openai_images,
        Endpoint.OPENAI_MODELS: get(service.models),
        Endpoint.VERIFY: partial(_verify, service),
        Endpoint.HEALTHZ: get(service.healthz),
        Endpoint.READYZ: get(service.readyz),
        Endpoint.METRICS: metrics,
        Endpoint.ABOUT: about,
        Endpoint.DOCS: get(service.docs),
        Endpoint.UI: ui,
        Endpoint.OPENAPI: get(service.openapi),
    }


async def _generate(
    service: Service, endpoint: Endpoint, request: Request, *, can_stream: bool
) -> Response:
    """Responds with images, or with a stream of events where the client accepts one."""
    try:
        body = await read_body(request)
    except ClientDisconnect:
        return Response(status_code=HANG_UP_STATUS)
    read = service.readers[endpoint]
    accept = ",".join(request.headers.getlist("accept")) or None
    hang_up = partial(_hang_up, request)
    if can_stream and accepts_events(accept):
        return await _streamed(service.events(*service.read(read, body, None), hang_up))
    return respond(await service.generate(read, body, accept, hang_up))


async def _verify(service: Service, request: Request) -> Response:
    """Responds with a picture's claims about its origin."""
    try:
        file = await read_body(request, service.verified_body)
    except ClientDisconnect:
        return Response(status_code=HANG_UP_STATUS)
    return respond(await service.verify(file))


def respond(reply: Reply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers), reply.media_type)


async def _streamed(events: AsyncIterator[bytes]) -> Response:
    """Streams events as they come. Before the first one a refusal has its own status.

    Raises:
        Problem: the request failed before its first step.

    """
    first = await anext(events, None)
    if first is None:
        return Response(status_code=HANG_UP_STATUS)
    return EventStream(first, events)


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
    """Turns the framework's own refusals, of unknown routes or methods, into problems."""
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    allowed = [route.method for route in ROUTES if route.path == request.url.path]
    if allowed:
        headers["Allow"] = ", ".join(allowed)
        detail = f"{request.method} is not served here; use {headers['Allow']}."
        return _refused(request, Problem(METHOD_NOT_ALLOWED, detail, headers=headers))
    known = ", ".join(f"{route.method} {route.path}" for route in ROUTES)
    detail = f"The routes are {known}."
    return _refused(request, Problem(NOT_FOUND, detail, headers=headers))


async def on_unhandled_exception(request: Request, error: Exception) -> Response:
    """Responds with an error id, by which the log has the place of the exception."""
    error_id = uuid.uuid4().hex[:12]
    log.error("a request failed", extra={"error_id": error_id} | failure_fields(error))
    detail = f"The server failed on this request (error {error_id}). {ENGINE_FAILED.advice}"
    return _refused(request, Problem(ENGINE_FAILED, detail, error_id=error_id))
