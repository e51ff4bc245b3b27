"""A pipeline with a step loop that needs no model, and requests for engines on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffusion_serving.engine import Engine, QueuedRequest
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import (
    BatchOutput,
    ImageState,
    OnStep,
    OutOfMemory,
    Picture,
)
from held import Held

WARM_UP = "warm-up"


@dataclass(eq=False)
class FakeState:
    """An image between text and pixels."""

    request: ImageRequest
    seed: int
    steps_left: int

    @property
    def pixels(self) -> int:
        return self.request.pixels


class SteppedPipeline(Held):
    """A pipeline that paints images in their seeds' colours, one stage at a time.

    `hold()` stops it at the beginning of a step until `release()`; `entered` counts the steps that
    have begun. The warm-up is left out of `steps`, `encoded`, `decoded` and `order`.
    """

    device = "cpu"
    device_name = "fake"
    dtype = "float32"
    native_size = (64, 64)
    device_memory_bytes = None
    device_use = None
    checker: Any = None
    batch_sizes: Sequence[int] = ()

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[str]] = []
        """The prompts of each step's images."""
        self.encoded: list[list[str]] = []
        self.decoded: list[list[str]] = []
        self.order: list[tuple[str, list[str]]] = []
        """The stage and the prompts of all calls, in their order."""
        self.failures: dict[tuple[str, str], Exception] = {}
        """Errors to raise, by stage and prompt."""
        self.memory: dict[str, int] = {}
        """The images that memory holds in a stage."""
        self.on_step: Callable[[int], None] = lambda _: None
        """Called with the number of each step before it is made."""

    @property
    def stepwise(self) -> "SteppedPipeline":
        return self

    def __call__(self, batch: Sequence[ImageRequest], on_step: OnStep | None = None) -> BatchOutput:
        raise AssertionError(f"a call of {len(batch)} requests, in place of steps: {on_step}")

    def begin(self, requests: Sequence[ImageRequest]) -> list[list[FakeState]]:
        self._record("text", self.encoded, [request.prompt for request in requests])
        self._fail("text", [request.prompt for request in requests])
        return [[FakeState(one, seed, one.steps) for seed in one.seeds] for one in requests]

    def step(self, images: Sequence[ImageState]) -> None:
        states = _fakes(images)
        prompts = [state.request.prompt for state in states]
        assert len({state.request.step_key for state in states}) == 1
        if prompts[0] != WARM_UP:
            self.on_step(len(self.steps))
            self._enter()
        self._record("step", self.steps, prompts)
        self._fail("step", prompts)
        for state in states:
            assert state.steps_left > 0
            state.steps_left -= 1

    def decode(self, images: Sequence[ImageState]) -> list[Picture]:
        states = _fakes(images)
        prompts = [state.request.prompt for state in states]
        self._record("decode", self.decoded, prompts)
        self._fail("decode", prompts)
        assert all(state.steps_left == 0 for state in states)
        return [_painted(state) for state in states]

    def _record(self, stage: str, log: list[list[str]], prompts: list[str]) -> None:
        if prompts[0] != WARM_UP:
            log.append(prompts)
            self.order.append((stage, prompts))

    def _fail(self, stage: str, prompts: Sequence[str]) -> None:
        if len(prompts) > self.memory.get(stage, len(prompts)):
            raise OutOfMemory(f"{len(prompts)} images")
        for prompt in prompts:
            if (failure := self.failures.get((stage, prompt))) is not None:
                raise failure


def _fakes(images: Sequence[ImageState]) -> list[FakeState]:
    return [image for image in images if isinstance(image, FakeState)]


def _painted(state: FakeState) -> Picture:
    request, seed = state.request, state.seed
    pixel = (seed % 2**24).to_bytes(3, "big")
    pixels = bytearray(pixel * request.width * request.height)
    pixels[:3] = b"\x7f\x00\xff"  # a warm-up image of one colour alone is refused
    return Picture(request.width, request.height, bytes(pixels))


def image_request(prompt: str, *seeds: int, **changes: Any) -> ImageRequest:
    return replace(ImageRequest(prompt, "", 4, 2.0, 64, 64, seeds or (0,)), **changes)


def results(*requests: QueuedRequest) -> list[list[int]]:
    """The seeds that were painted."""
    return [
        [picture.rgb[-1] for picture in request.future.result(30).pictures] for request in requests
    ]


def occupy(engine: Engine, stepped: SteppedPipeline, **changes: Any) -> QueuedRequest:
    """Keeps the engine in the first step of a request until `release()`."""
    stepped.hold()
    request = engine.submit(image_request("first", **changes))
    assert stepped.entered.acquire(timeout=30)
    return request
