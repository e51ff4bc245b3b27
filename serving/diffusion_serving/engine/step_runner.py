"""Runs the stages of requests on one model, so that a request which fails, fails alone."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from diffusion_serving.engine.cost_curve import CostCurve
from diffusion_serving.engine.failures import failed_request
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.lifecycle import Startup
from diffusion_serving.engine.memory_limit import MemoryLimit
from diffusion_serving.engine.picture_check import PictureCheck
from diffusion_serving.engine.pipeline_interface import (
    ImageState,
    OutOfMemory,
    Picture,
    Pipeline,
    StepPipeline,
)
from diffusion_serving.engine.queued_request import QueuedRequest
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import DeviceLost

log = logging.getLogger("diffusion_serving")

TIMING_SECONDS = 30.0
"""The longest that timing the steps may keep a server from being ready."""
_TIMED_CALLS = 2
"""Calls of each size; the first one may allocate memory or compile, so the quickest counts."""
_GUIDED = 7.5
"""A guidance scale that doubles the work of a step, as each above 1 does."""
_ALWAYS_TIMED = 8
"""Images up to which a step is timed whatever smaller ones say: single figures scatter."""

LARGEST_SLICE = 8
"""The most images in one decoding, which needs far more memory for each than a step does: a step of
64 fits where their decoding doesn't, and running out of memory is the dear way to learn that."""

T = TypeVar("T")
Image = tuple[QueuedRequest, int]
"""An image of a request, by its place in it."""


class StepRunner:
    """The stages of one model, within what its device's memory holds, for one thread alone."""

    def __init__(
        self,
        pipeline: Pipeline,
        steps: StepPipeline,
        *,
        max_images: int,
        metrics: Metrics,
        blur: bool = False,
    ) -> None:
        self.pipeline = pipeline
        """The pipeline, whose attributes others may read."""
        self.check = PictureCheck(pipeline.checker, metrics, blur=blur)
        """The check of finished pictures, which the loop asks for."""
        self.startup = Startup(0.0, 0.0, 0.0, ())
        self.usual_work = 1
        """The work of a request of the service's own defaults."""
        self.max_images = max_images
        self.denoising_memory = MemoryLimit()
        self.decoding_memory = MemoryLimit()
        self._steps = steps
        self._metrics = metrics
        self._curve: CostCurve | None = None
        self._finished: Sequence[ImageState] = ()
        """The image of the warm-up, until decoding is timed with it."""

    @property
    def curve(self) -> CostCurve:
        """The measured cost, which follows the device's speed."""
        if self._curve is None:
            raise RuntimeError("the runner is not warm yet")
        return self._curve

    def begin(self, requests: Sequence[QueuedRequest]) -> None:
        """Encodes the texts of requests that share a step key; each then has its images' states."""

        def encode(some: Sequence[QueuedRequest]) -> None:
            states = self._steps.begin([queued.request for queued in some])
            for queued, own in zip(some, states, strict=True):
                queued.states = dict(enumerate(own))
                queued.encoded = time.monotonic()

        _attempt(requests, encode, _request_itself, lambda _: None)

    def step(self, images: Sequence[Image]) -> None:
        """Makes one step of images that share a step key.

        Without memory for all at once, they make the step in halves; an image that had made it
        already makes no other.
        """
        before = {_key(image): _state(image).steps_left for image in images}

        def pending(some: Sequence[Image]) -> list[Image]:
            return [one for one in some if _state(one).steps_left == before[_key(one)]]

        def denoise(some: Sequence[Image]) -> None:
            some = pending(some)
            if not some:
                return
            work = sum(queued.request.step_work for queued, _ in some)
            begin = time.monotonic()
            self._steps.step([_state(image) for image in some])
            self._curve = self.curve.with_step(work, time.monotonic() - begin)
            self.denoising_memory.admit(work)
            self._metrics.batch_size.observe(len(some))

        def refuse(some: Sequence[Image]) -> None:
            work = sum(queued.request.step_work for queued, _ in some)
            _refuse(self.denoising_memory, work, "a step", len(some))

        _attempt(images, denoise, _request_of, refuse)
        now = time.monotonic()
        for queued, _ in images:
            queued.last_step = now

    def decode(self, images: Sequence[Image]) -> None:
        """Decodes images that share a size, in as few slices as memory allows."""

        def decode(some: Sequence[Image]) -> None:
            pixels = sum(queued.request.pixels for queued, _ in some)
            begin = time.monotonic()
            pictures = self._steps.decode([_state(image) for image in some])
            self._curve = self.curve.with_decoding(pixels, time.monotonic() - begin)
            self.decoding_memory.admit(pixels)
            for (queued, place), picture in zip(some, pictures, strict=True):
                queued.pictures[place] = picture
                del queued.states[place]
            self._metrics.images.inc(len(some))

        def refuse(some: Sequence[Image]) -> None:
            pixels = sum(queued.request.pixels for queued, _ in some)
            _refuse(self.decoding_memory, pixels, "decoding", len(some))

        _attempt(images, decode, _request_of, refuse)

    def warm_up(self, request: ImageRequest) -> Sequence[Picture]:
        """Generates one request's images, and begins the cost curve with it.

        Raises:
            Exception: the pipeline's own.

        """
        (states,) = self._steps.begin([request])
        seconds = min(self._timed(self._steps.step, states) for _ in range(request.steps))
        begin = time.monotonic()
        pictures = self._steps.decode(states)
        self._curve = CostCurve(
            reference=request.step_work * request.images,
            points=((1, seconds),),
            reference_pixels=request.pixels * request.images,
            decoding=((1, time.monotonic() - begin),),
        )
        self._finished = states
        return pictures

    def time_steps(self, request: ImageRequest, required: Sequence[int] = ()) -> None:
        """Times a step of each power of two of images, up to the largest allowed, and of that.

        Timing ends where memory runs out or time does, or where by the curve so far no queue would
        be finished sooner by larger steps. But the `required` sizes make their steps anyway: those
        that cost time when first used.

        Raises:
            Exception: the pipeline's own.

        """
        begin = time.monotonic()
        sizes = {2**exponent for exponent in range(self.max_images.bit_length())}
        for size in sorted({*sizes, self.max_images, *required}):
            work = size * self.curve.reference
            estimate = _TIMED_CALLS * self.curve.step_seconds(work)
            late = time.monotonic() - begin + estimate > TIMING_SECONDS
            needless = size > _ALWAYS_TIMED and not self._larger_steps_pay()
            if size > self.max_images or ((late or needless) and size not in required):
                continue
            try:
                seconds = self._time_size(request, size)
            except OutOfMemory:
                if size == 1:
                    raise
                _refuse(self.denoising_memory, work, "a step", size)
                return
            self._curve = self.curve.with_point(size, seconds)

    def make_other_steps(self, request: ImageRequest, required: Sequence[int]) -> None:
        """Makes the steps that cost time when first used and that the warm-up has left out.

        Guidance doubles the rows of a step. Of the numbers of rows that the `required` sizes have
        with guidance and without, these are the ones that the warm-up's own steps leave out.

        Raises:
            Exception: the pipeline's own.

        """
        is_guided = request.guidance_scale > 1
        other = replace(request, guidance_scale=1.0 if is_guided else _GUIDED)
        own, others = (2, 1) if is_guided else (1, 2)
        made = {size * own for size in required}
        for size in sorted(size for size in required if size * others not in made):
            try:
                self._time_size(other, size)
            except OutOfMemory:
                _refuse(self.denoising_memory, size * other.step_work, "a step", size)
                return

    def time_decoding(self, required: Sequence[int] = ()) -> None:
        """Times the decoding of one image, and of each `required` number up to `LARGEST_SLICE`.

        Timing ends where memory runs out.

        Raises:
            Exception: the pipeline's own.

        """
        for size in sorted({1, *(size for size in required if size <= LARGEST_SLICE)}):
            images = [*self._finished] * size
            try:
                seconds = min(self._timed(self._steps.decode, images) for _ in range(_TIMED_CALLS))
            except OutOfMemory:
                if size == 1:
                    raise
                pixels = size * self.curve.reference_pixels
                _refuse(self.decoding_memory, pixels, "decoding", size)
                break
            self._curve = self.curve.with_decoding_point(size, seconds)
        self._finished = ()

    def bare_calls(self, request: ImageRequest) -> tuple[tuple[int, float], ...]:
        """Returns the images and seconds of whole requests of each size whose step was timed."""
        return tuple(
            (int(images), self.curve.request_seconds(_repeated(request, int(images))))
            for images, _ in self.curve.points
        )

    def _larger_steps_pay(self) -> bool:
        """Whether steps larger than the timed ones would finish the most images sooner."""
        curve = self.curve
        return curve.size(self.max_images, self.max_images, curve.reference) > curve.largest

    def _time_size(self, request: ImageRequest, size: int) -> float:
        several = replace(_repeated(request, size), steps=max(_TIMED_CALLS, request.steps))
        (states,) = self._steps.begin([several])
        return min(self._timed(self._steps.step, states) for _ in range(_TIMED_CALLS))

    def _timed(
        self, call: Callable[[Sequence[ImageState]], object], states: Sequence[ImageState]
    ) -> float:
        begin = time.monotonic()
        call(states)
        return time.monotonic() - begin


def _attempt(
    items: Sequence[T],
    call: Callable[[Sequence[T]], None],
    owner: Callable[[T], QueuedRequest],
    refuse: Callable[[Sequence[T]], None],
) -> None:
    """Calls a stage for all items at once, or for less where that fails.

    Without memory for all, it calls for each half; after another failure, for each item alone, to
    see whose fault it is. An item that fails alone fails its request.

    Raises:
        DeviceLost: the device cannot be used any more.

    """
    items = [item for item in items if owner(item).failure is None]
    if not items:
        return
    try:
        call(items)
    except OutOfMemory as error:
        refuse(items)
        failure: Exception = error
        smaller = -(-len(items) // 2)
    except DeviceLost:
        raise
    except Exception as error:  # noqa: BLE001 - any failure leaves the others to be served
        failure = error
        smaller = 1
    else:
        return
    if len(items) == 1:
        _fail(owner(items[0]), failure)
        return
    # A traceback with its message could show a prompt.
    log.warning("a call failed; it is repeated in parts", extra=failure_fields(failure))
    for begin in range(0, len(items), smaller):
        _attempt(items[begin : begin + smaller], call, owner, refuse)


def _fail(queued: QueuedRequest, error: Exception) -> None:
    error_id = uuid.uuid4().hex[:12]
    log.error("an image request failed", extra={"error_id": error_id} | failure_fields(error))
    queued.failure = failed_request(error_id, error)
    queued.states = {}


def _refuse(memory: MemoryLimit, pixels: int, call: str, images: int) -> None:
    memory.refuse(pixels)
    log.warning(
        "the device's memory is too small",
        extra={"call": call, "images": images, "pixels": pixels, "from_now_on": memory.pixels},
    )


def _repeated(request: ImageRequest, images: int) -> ImageRequest:
    return replace(request, seeds=tuple(request.seeds[0] + place for place in range(images)))


def _request_itself(queued: QueuedRequest) -> QueuedRequest:
    return queued


def _request_of(image: Image) -> QueuedRequest:
    return image[0]


def _key(image: Image) -> tuple[int, int]:
    return id(image[0]), image[1]


def _state(image: Image) -> ImageState:
    queued, place = image
    return queued.states[place]
