"""A pipeline that needs no model, and engines and services that use it."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine import Engine
from diffusion_serving.engine.client import LocalEngineClient
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import BatchOutput, OnStep, OutOfMemory, Picture
from diffusion_serving.engine_process.startup import warm_up_of
from diffusion_serving.http.app import create_app
from diffusion_serving.http.service import Service
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.settings import Settings
from held import Held


class FakePipeline(Held):
    """Pipeline that paints images in their seeds' colours; `hold()` stops it until `release()`."""

    device = "cpu"
    device_name = "fake"
    dtype = "float32"
    native_size = (128, 96)
    device_memory_bytes = None
    device_use = None
    checker: Any = None
    batch_sizes = ()
    stepwise = None

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[ImageRequest]] = []
        self.failures: dict[str, Exception] = {}
        self.late_failures: dict[str, Exception] = {}
        """Errors to raise after the last step, by prompt."""
        self.surplus = False
        self.memory_images: int | None = None
        """The number of images that fit in memory; None for any number."""

    @property
    def prompts(self) -> list[str]:
        """Prompts in the order of their calls, without the warm-up's."""
        return [g.prompt for batch in self.batches for g in batch if g.prompt != "warm-up"]

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        self.batches.append(list(batch))
        self._enter()
        images = sum(len(request.seeds) for request in batch)
        if self.memory_images is not None and images > self.memory_images:
            raise OutOfMemory(f"{images} images")
        for request in batch:
            if (failure := self.failures.get(request.prompt)) is not None:
                raise failure
        if on_step is not None:
            for step in range(batch[0].steps):
                on_step(step + 1, batch[0].steps)
        for request in batch:
            if (failure := self.late_failures.get(request.prompt)) is not None:
                raise failure
        pictures = [[_painted(g, seed) for seed in g.seeds] for g in batch]
        return BatchOutput(
            pictures=pictures * 2 if self.surplus else pictures,
            seconds={"text_encoder": 0.001, "denoise": 0.02, "vae": 0.003},
        )


def _painted(request: ImageRequest, seed: int) -> Picture:
    pixel = (seed % 2**24).to_bytes(3, "big")
    pixels = bytearray(pixel * request.width * request.height)
    pixels[-3:] = b"\x7f\x00\xff"  # a warm-up image of one colour alone is refused
    return Picture(request.width, request.height, bytes(pixels))


@pytest.fixture
def make_fake() -> Iterator[Callable[[], FakePipeline]]:
    """Makes fake pipelines, and releases all of them at the end."""
    fakes: list[FakePipeline] = []

    def make() -> FakePipeline:
        fakes.append(FakePipeline())
        return fakes[-1]

    yield make
    for fake in fakes:
        fake.release()


@pytest.fixture
def pipeline(make_fake: Callable[[], FakePipeline]) -> FakePipeline:
    return make_fake()


@pytest.fixture
def configured() -> Callable[..., Settings]:
    """Makes settings from parts of a configuration document."""

    def configure(**document: Any) -> Settings:
        document = {"model": {"path": "/models/demo"}, **document}
        return Settings(ServingConfig.model_validate(document), drain_seconds=0)

    return configure


class Stack:
    """An engine on the fake pipeline, the service in front of it, and its HTTP client."""

    def __init__(self, pipeline: Any, settings: Settings) -> None:
        queue = settings.config.queue
        self.metrics = make_metrics()
        self.engine = Engine(
            lambda: pipeline,
            lambda loaded: warm_up_of(settings.config, loaded),
            max_queue=queue.max_length,
            queue_timeout=queue.timeout_seconds,
            metrics=self.metrics,
            blur=settings.config.safety.action == "Blur",
        )
        self.service = Service(settings, LocalEngineClient(self.engine, self.metrics), self.metrics)
        app = create_app(self.service, self.metrics)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=True),
            base_url="http://test",
        )
        self.app = app

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def make_stack(
    pipeline: FakePipeline, configured: Callable[..., Settings]
) -> AsyncIterator[Callable[..., Stack]]:
    """Makes stacks from parts of a configuration; `start=False` leaves the engine not started."""
    stacks: list[Stack] = []

    def make(*, start: bool = True, **document: Any) -> Stack:
        stack = Stack(pipeline, configured(**document))
        stacks.append(stack)
        if start:
            stack.engine.start()
            stack.engine.ready.result(60)
            assert pipeline.entered.acquire(timeout=60)  # the warm-up
        return stack

    yield make
    pipeline.release()
    for stack in stacks:
        await stack.client.aclose()
        assert stack.engine.stop(10)
        stack.service.close()
