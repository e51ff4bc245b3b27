"""The HTTP surface without a web framework: each route's response, as a plain reply."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from diffusion_serving.engine import Result, State
from diffusion_serving.engine.client import EngineClient, ModelInfo
from diffusion_serving.engine.cpu_cores import available_cores
from diffusion_serving.engine.errors import (
    DeadlineExceeded,
    NotReady,
    PicturesBlocked,
    QueueFull,
    RequestError,
)
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.http.auth import Keys
from diffusion_serving.http.documentation import openapi
from diffusion_serving.http.documentation import page as docs_page
from diffusion_serving.http.requests import openai as openai_api
from diffusion_serving.http.requests.cost_in_flight import CostInFlight
from diffusion_serving.http.requests.predict import predict_reader
from diffusion_serving.http.requests.reader import Reader
from diffusion_serving.http.requests.verify import picture_body
from diffusion_serving.http.responses import model_facts
from diffusion_serving.http.responses.event_stream import event, step_event
from diffusion_serving.http.responses.marks import Marks
from diffusion_serving.http.responses.problems import NOT_READY, Problem, from_request_error
from diffusion_serving.http.responses.rendering import Facts, Rendering, Timings
from diffusion_serving.http.responses.replies import Reply, problem_reply
from diffusion_serving.http.responses.verification import verify
from diffusion_serving.http.route_table import Endpoint
from diffusion_serving.http.ui.docs_files import POLICY, docs_files
from diffusion_serving.http.ui.files import headers_with, page_files
from diffusion_serving.observability import usage, versions
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.settings import Settings

HANG_UP_STATUS = 499
"""Never reaches a client; access logs and metrics know it as "the client closed the connection"."""

HangUp = Callable[[], Coroutine[Any, Any, None]]


class Service:
    """Answers the routes. Its coroutines run on one event loop; images are encoded off it."""

    def __init__(self, settings: Settings, client: EngineClient, metrics: Metrics) -> None:
        """Prepares the responses that never change.

        Raises:
            InvalidConfiguration: the file of the API keys has none, or a certificate is unusable.

        """
        self._began = time.monotonic()
        self._settings = settings
        self._config = settings.config
        self._client = client
        self._metrics = metrics
        self._cost = CostInFlight(self._config, metrics.cost_in_flight)
        self._encoders = ThreadPoolExecutor(available_cores(), thread_name_prefix="encode")
        self._draining = False
        self._giving_up = asyncio.Event()
        self.last_arrival = self._began
        """Time by `time.monotonic` of the last request that was no probe."""
        auth = self._config.auth
        self.is_replica = bool(settings.service)
        """Whether the process serves in a pod of a DiffusionService."""
        self.keys = Keys(auth.api_key_file) if auth else None
        """The API keys; None lets every request in."""
        self._marks = Marks(self._config.provenance, metrics)
        self.readers: Mapping[Endpoint, Reader] = {
            Endpoint.PREDICT: predict_reader(self._config),
            Endpoint.OPENAI_IMAGES: openai_api.images_reader(self._config, settings.service),
        }
        """The readers of the endpoints that generate images."""
        self.verified_body = picture_body(self._config.limits)
        """The bodies that `verify` takes."""
        self._models = openai_api.models(self._config, settings.service, int(time.time()))
        self._openapi = openapi.describe(self._config)
        self._docs = docs_page.render(self._openapi).encode()
        self.page = page_files() | docs_files()
        """The page at /ui and its files, and the files of the page at /docs, by path."""
        config = self._config
        labels = versions.build_info(config.backend, config.device, config.precision)
        metrics.publish_build_info(labels)
        metrics.ready.set_function(lambda: float(self._not_ready() is None))

    @property
    def draining(self) -> bool:
        return self._draining

    def drain(self) -> None:
        """Makes the service not ready, though requests that still arrive are answered."""
        self._draining = True

    def arrive(self) -> None:
        """Records that a request has arrived."""
        self.last_arrival = time.monotonic()

    def give_up(self) -> None:
        """Refuses the requests in flight, because this process is about to be killed."""
        self._giving_up.set()

    def close(self) -> None:
        self._encoders.shutdown(wait=False, cancel_futures=True)

    async def generate(
        self, reader: Reader, body: bytes, accept: str | None, hang_up: HangUp
    ) -> Reply:
        """Returns the reply to a request for images. `hang_up()` returns when the client has left.

        Raises:
            Problem: the reason why there are no images.

        """
        request, rendering = self.read(reader, body, accept)
        with self.refusals():
            result = await self.run(request, hang_up)
        if result is None:
            return Reply(HANG_UP_STATUS, b"")
        return await self._render(rendering, result)

    def read(
        self, reader: Reader, body: bytes, accept: str | None
    ) -> tuple[ImageRequest, Rendering]:
        """Reads a request for images.

        Raises:
            Problem: it can't be served, or not yet.

        """
        with self.refusals():
            # Before anything else, because the defaults of a size come from the model.
            return reader(body, accept, self.model().native_size)

    async def events(
        self, request: ImageRequest, rendering: Rendering, hang_up: HangUp
    ) -> AsyncIterator[bytes]:
        """Yields server-sent events: `step` after each step, then `images` or `problem`.

        The data of `images` is the JSON response, that of `problem` the problem document. There
        are no events if the client left before the first step.

        Raises:
            Problem: the reason why there are no images, before the first step.

        """
        steps: asyncio.Queue[bytes | None] = asyncio.Queue()
        running = asyncio.ensure_future(
            self.run(request, hang_up, lambda step, of: steps.put_nowait(step_event(step, of)))
        )
        running.add_done_callback(lambda _: steps.put_nowait(None))
        begun = False
        try:
            while (step := await steps.get()) is not None:
                begun = True
                yield step
            with self.refusals():
                result = running.result()
        except Problem as problem:
            if not begun:
                raise
            yield event("problem", problem.body())
            return
        finally:
            running.cancel()
        if result is None:
            return
        try:
            reply = await self._render(rendering, result)
        except Problem as problem:
            yield event("problem", problem.body())
        else:
            yield event("images", reply.body)

    @contextlib.contextmanager
    def refusals(self) -> Generator[None]:
        """Counts a refused request, and turns an engine's refusal into a problem."""
        try:
            yield
        except RequestError as error:
            self._count_rejection(error)
            raise from_request_error(error) from error
        except Problem:
            self._metrics.rejected.labels("invalid").inc()
            raise

    def model(self) -> ModelInfo:
        """Returns the loaded model.

        Raises:
            NotReady: there is none.

        """
        if (model := self._client.model) is None:
            raise NotReady(self._not_ready() or "The server is stopping.")
        return model

    async def run(
        self, request: ImageRequest, hang_up: HangUp, on_step: OnStep | None = None
    ) -> Result | None:
        """Generates images; returns None if the client left, which cancels a waiting request.

        Raises:
            RequestError: the reason why there are no images.

        """
        native_size = self.model().native_size
        running = asyncio.ensure_future(self._client.run(request, on_step))
        gone = asyncio.ensure_future(hang_up())
        refused = asyncio.ensure_future(self._giving_up.wait())
        ends: set[asyncio.Future[Any]] = {running, gone, refused}
        cost = self._cost.count(request, native_size)
        with self._metrics.in_flight.track_inprogress(), cost:
            try:
                await asyncio.wait(ends, return_when="FIRST_COMPLETED")
                if running.done():
                    return running.result()
                if refused.done():
                    raise NotReady("The server ends before it could finish the request.")
                return None
            finally:
                gone.cancel()
                if refused.done():
                    # Its engine ends with this process, and would count the request as a hang-up.
                    running.add_done_callback(_leave)
                elif refused.cancel() and running.cancel():
                    await asyncio.wait({running})

    async def _render(self, rendering: Rendering, result: Result) -> Reply:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._encoders, self._encoded, rendering, result)

    def _encoded(self, rendering: Rendering, result: Result) -> Reply:
        """Encodes the images into the reply. Takes milliseconds: runs on an encoder thread."""
        begin = time.monotonic()
        files = self._marks.encode(result.pictures, rendering.format, rendering.quality)
        encode_seconds = time.monotonic() - begin
        self._metrics.stage_seconds.labels("encode").observe(encode_seconds)
        return rendering.reply(files, Facts(_timings(result, encode_seconds), result.blocked))

    def healthz(self) -> Reply:
        """200 as long as the engine runs."""
        if self._client.alive:
            return _json({"status": "alive"})
        return problem_reply(Problem(NOT_READY, "The engine has ended; restart the server."))

    def readyz(self) -> Reply:
        """200 while images are generated and the server is not stopping."""
        if (why := self._not_ready()) is not None:
            return problem_reply(from_request_error(NotReady(why)))
        return _json({"status": "ready"})

    async def about(self) -> Reply:
        """The server's facts; those of the model are null until it has loaded."""
        config, model = self._config, self._client.model
        families = [*self._metrics.registry.collect(), *await self._client.metrics()]
        used = await asyncio.get_running_loop().run_in_executor(
            self._encoders, usage.usage, families
        )
        size = model.native_size if model else (None, None)
        generation = config.generation
        return _json(
            {
                "backend": config.backend,
                "versions": versions.versions_with(config.backend),
                "service": self._settings.service or None,
                "revision": self._settings.revision or None,
                "model": str(config.model.path),
                "source": config.model.source or str(config.model.path),
                "model_revision": config.model.revision,
                "ready": self._not_ready() is None,
                "uptime_seconds": time.monotonic() - self._began,
                "startup": model_facts.startup(model.startup) if model else None,
                "bare_pipeline": model_facts.bare(model.startup, config.devices) if model else None,
                "usage": used,
                "device": model.device if model else None,
                "device_name": model.device_name if model else None,
                "dtype": model.dtype if model else None,
                "scheduler": generation.scheduler,
                "batching": config.batching.model_dump() | model_facts.scheduling(config, model),
                "devices": config.devices,
                "compile": config.compile,
                "attention": config.attention,
                "channels_last": config.channels_last,
                "loras": [{"name": lora.name, "scale": lora.scale} for lora in config.model.loras],
                "limits": config.limits.model_dump() | {"max_steps": config.limits.steps},
                "queue": config.queue.model_dump(),
                "provenance": self._marks.describe(),
                "safety": model_facts.safety(model, config.safety),
                "generation": {
                    "steps": generation.steps,
                    "guidance_scale": generation.guidance_scale,
                    "width": generation.width or size[0],
                    "height": generation.height or size[1],
                    "scheduler": generation.scheduler,
                },
            }
        )

    async def verify(self, file: bytes) -> Reply:
        """The claims of a picture about its origin; needs no model.

        Raises:
            Problem: the bytes are no picture.

        """
        loop = asyncio.get_running_loop()
        claims = await loop.run_in_executor(self._encoders, verify, file, self._marks.authorities)
        return Reply(200, claims.model_dump_json().encode())

    def models(self) -> Reply:
        """The models that OpenAI's clients may name."""
        return _json(self._models)

    async def metrics(self) -> Reply:
        body, media_type = self._metrics.expose(await self._client.metrics())
        return Reply(200, body, media_type)

    def openapi(self) -> Reply:
        return _json(self._openapi)

    def docs(self) -> Reply:
        return Reply(
            200,
            self._docs,
            "text/html; charset=utf-8",
            headers_with(POLICY),
        )

    def _not_ready(self) -> str | None:
        """Returns the reason why the server is not ready; None if it is."""
        if self._draining:
            return "The server is stopping."
        match self._client.state:
            case State.READY:
                return None
            case State.LOADING:
                return "The model is still loading."
            case State.FAILED:
                return "The engine has failed or could not be loaded; the server is about to exit."
            case State.STOPPED:
                return "The engine has stopped."

    def _count_rejection(self, error: RequestError) -> None:
        match error:
            case QueueFull():
                self._metrics.rejected.labels("queue_full").inc()
            case DeadlineExceeded():
                self._metrics.rejected.labels("deadline").inc()
            case NotReady():
                self._metrics.rejected.labels("not_ready").inc()
            case PicturesBlocked():
                self._metrics.rejected.labels("blocked").inc()


def _leave(running: "asyncio.Future[Result]") -> None:
    """Takes the outcome of a request that was answered already."""
    if not running.cancelled():
        running.exception()


def _timings(result: Result, encode_seconds: float) -> Timings:
    def ms(seconds: float) -> float:
        return round(seconds * 1000, 3)

    return Timings(
        queue=ms(result.queue_seconds),
        text_encoder=ms(result.text_encoder_seconds),
        denoise=ms(result.denoise_seconds),
        vae=ms(result.vae_seconds),
        safety=None if result.safety_seconds is None else ms(result.safety_seconds),
        encode=ms(encode_seconds),
    )


def _json(document: Mapping[str, Any]) -> Reply:
    return Reply(200, json.dumps(document).encode())
