"""Runs batches on one pipeline, so that a request which fails, fails alone."""

import logging
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

from diffusion_serving.engine.failures import failed_request
from diffusion_serving.engine.image_request import BatchKey, ImageRequest
from diffusion_serving.engine.lifecycle import Startup
from diffusion_serving.engine.memory_limit import MemoryLimit
from diffusion_serving.engine.picture_check import PictureCheck
from diffusion_serving.engine.pipeline_interface import OnStep, OutOfMemory, Picture, Pipeline
from diffusion_serving.engine.queued_request import Outcome, QueuedRequest
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import (
    DeviceLost,
)

log = logging.getLogger("diffusion_serving")

TIMING_SECONDS = 30.0
"""The longest that timing the pipeline alone may keep a server from being ready."""

_Slice = tuple[QueuedRequest, range]
"""The images of a request that one call generates, by their places in the request."""


class BatchRunner:
    """Runs requests on one pipeline within the images that its device has memory for.

    A second thread that calls it waits: the pipeline is not safe to share.
    """

    def __init__(
        self, pipeline: Pipeline, *, max_images: int, metrics: Metrics, blur: bool = False
    ) -> None:
        self.pipeline = pipeline
        """The pipeline, whose attributes others may read."""
        self.check = PictureCheck(pipeline.checker, metrics, blur=blur)
        """The check of finished pictures, which `run` and `execute` leave to their callers."""
        self.usual_work = 1
        """The work of a request of the service's own defaults, if `start_runner` started it."""
        self.seconds_per_image = 1.0
        """Seconds that an image of the warm-up took."""
        self.startup = Startup(0.0, 0.0, 0.0, ())
        """The cost of the start, if `start_runner` started it."""
        self._max_images = max_images
        self._metrics = metrics
        self._memory = MemoryLimit()
        self._lock = threading.Lock()

    def cap(self, key: BatchKey) -> int:
        """The most images in one call: less than configured once memory ran out."""
        return int(min(self._max_images, self._memory.images(_step_work(key))))

    def run(
        self,
        requests: Sequence[ImageRequest],
        on_step: Sequence[OnStep | None] | None = None,
    ) -> list[Outcome]:
        """Generates the images of any mixture of requests and returns each one's outcome.

        Args:
            requests: of any batch keys.
            on_step: for each request, the function to call after each of its steps.

        Raises:
            DeviceLost: the device cannot be used any more.

        """
        listeners = on_step or [None] * len(requests)
        now = time.monotonic()
        queued = [
            QueuedRequest(request, now, on_step=listener)
            for request, listener in zip(requests, listeners, strict=True)
        ]
        self.execute(queued)
        return [each.outcome() for each in queued]

    def execute(self, requests: Sequence[QueuedRequest]) -> None:
        """Generates the images of any mixture of requests; each then has its outcome.

        Requests of one batch key share calls of at most `max_images`, in the order given; a
        request is split over calls only if it alone is more than one can hold. A call that fails
        is repeated for each of its requests alone, so that only the bad one fails.

        Raises:
            DeviceLost: the device cannot be used any more.

        """
        with self._lock:
            for group in _by_key(requests):
                self._generate([(queued, range(queued.request.images)) for queued in group])

    def warm_up(self, request: ImageRequest, sizes: Sequence[int]) -> Picture:
        """Runs the request once in each batch size, the smallest first; returns its first picture.

        A size that memory does not allow lowers the cap; the smallest must succeed.

        Raises:
            Exception: the pipeline's own.

        """
        smallest, *larger = sizes
        with self._lock:
            picture, seconds = self._timed(request, smallest)
            self.seconds_per_image = seconds / smallest
            for size in larger:
                try:
                    _, seconds = self._timed(request, size)
                except OutOfMemory:
                    self._lower_cap(request.key, size)
                    break
                self.seconds_per_image = seconds / size
        return picture

    def time_calls(self, request: ImageRequest) -> tuple[tuple[int, float], ...]:
        """Times a call of each power of two up to the cap, and of the cap: images and seconds.

        Returns nothing where, by the warm-up, all calls would take more than `TIMING_SECONDS`.
        """
        cap = self.cap(request.key)
        sizes = sorted({*(2**exponent for exponent in range(cap.bit_length())), cap})
        if sum(sizes) * self.seconds_per_image > TIMING_SECONDS:
            return ()
        with self._lock:
            return tuple((size, self._timed(request, size)[1]) for size in sizes)

    def _timed(self, request: ImageRequest, size: int) -> tuple[Picture, float]:
        """Returns the first picture of a call, and its seconds."""
        seeds = tuple(request.seeds[0] + place for place in range(size))
        begin = time.monotonic()
        output = self.pipeline([replace(request, seeds=seeds)])
        return output.pictures[0][0], time.monotonic() - begin

    def _generate(self, slices: Iterable[_Slice]) -> None:
        """Generates slices that share a batch key, in as few calls as memory allows."""
        waiting = _unfailed(slices)
        while waiting:
            batch, waiting = _pack(waiting, self.cap(waiting[0][0].request.key))
            try:
                self._call(batch)
            except OutOfMemory as error:
                self._shrink(batch, error)
            except DeviceLost:
                raise
            except Exception as error:  # noqa: BLE001 - any failure leaves the others to be served
                self._separate(batch, error)
            waiting = _unfailed(waiting)

    def _call(self, batch: Sequence[_Slice]) -> None:
        steps = batch[0][0].request.steps

        def on_step(step: int, _: int) -> None:
            for queued, places in batch:
                queued.report_step(step, len(places))

        listened = any(queued.on_step for queued, _ in batch)
        requests = [_only(queued.request, places) for queued, places in batch]
        output = self.pipeline(requests, on_step if listened else None)
        for (queued, places), pictures in zip(batch, output.pictures, strict=True):
            queued.pictures |= zip(places, pictures, strict=True)
            queued.steps_done += steps
            for stage, seconds in output.seconds.items():
                queued.seconds[stage] = queued.seconds.get(stage, 0.0) + seconds
        images = _images(batch)
        self._memory.admit(images * _step_work(batch[0][0].request.key))
        self._metrics.batch_size.observe(images)
        self._metrics.images.inc(images)
        for stage, seconds in output.seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(seconds)

    def _shrink(self, batch: Sequence[_Slice], error: OutOfMemory) -> None:
        """Repeats a batch that was too large for the device's memory in halves."""
        images = _images(batch)
        if images == 1:
            self._fail(batch, error)
            return
        self._lower_cap(batch[0][0].request.key, images)
        self._generate(batch)

    def _separate(self, batch: Sequence[_Slice], error: Exception) -> None:
        """Repeats each slice of a batch that failed alone, to see whose fault it was."""
        if len(batch) == 1:
            self._fail(batch, error)
            return
        log.warning("a batch failed; its requests are repeated alone", extra=failure_fields(error))
        for one in batch:
            self._generate([one])

    def _lower_cap(self, key: BatchKey, images: int) -> None:
        self._memory.refuse(images * _step_work(key))
        log.warning(
            "the device's memory is too small for the batch",
            extra={
                "images": images,
                "from_now_on": self.cap(key),
                "width": key.width,
                "height": key.height,
            },
        )

    def _fail(self, batch: Sequence[_Slice], error: Exception) -> None:
        error_id = uuid.uuid4().hex[:12]
        log.error(  # a traceback with its message could show a prompt
            "an image request failed", extra={"error_id": error_id} | failure_fields(error)
        )
        for queued, _ in batch:
            queued.failure = failed_request(error_id, error)


def _step_work(key: BatchKey) -> int:
    """Returns the pixels of one image in one step, which decide how much memory it needs."""
    return key.width * key.height * (2 if key.guidance_scale > 1 else 1)


def _by_key(requests: Sequence[QueuedRequest]) -> list[list[QueuedRequest]]:
    """Groups requests by batch key, in the order in which the keys come."""
    groups: dict[BatchKey, list[QueuedRequest]] = {}
    for queued in requests:
        groups.setdefault(queued.request.key, []).append(queued)
    return list(groups.values())


def _unfailed(slices: Iterable[_Slice]) -> list[_Slice]:
    return [one for one in slices if one[0].failure is None]


def _only(request: ImageRequest, places: range) -> ImageRequest:
    """Returns the request with the images of these places alone."""
    return replace(request, seeds=tuple(request.seeds[place] for place in places))


def _pack(slices: Sequence[_Slice], cap: int) -> tuple[list[_Slice], list[_Slice]]:
    """Returns the next call's slices, at most `cap` images, and those left for later calls."""
    pieces = [
        (queued, range(begin, min(begin + cap, places.stop)))
        for queued, places in slices
        for begin in range(places.start, places.stop, cap)
    ]
    count, images = 0, 0
    for _, places in pieces:
        images += len(places)
        if images > cap:
            break
        count += 1
    return pieces[:count], pieces[count:]


def _images(batch: Sequence[_Slice]) -> int:
    return sum(len(places) for _, places in batch)
