"""Runs generations on one pipeline, and keeps what goes wrong with one from the others."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from diffusion_serving.engine.generation import (
    BatchKey,
    Generation,
    OnStep,
    OutOfMemory,
    Picture,
    Pipeline,
)
from diffusion_serving.engine.jobs import Result, Startup
from diffusion_serving.observability.errors import (
    DeviceLost,
    EngineFailed,
    ModelLoadFailed,
    RequestError,
    StartupError,
)
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics

log = logging.getLogger(__name__)

TIMING_SECONDS = 30.0
"""The longest that a server is kept from being ready to time its pipeline alone."""

Outcome = Result | RequestError
"""What became of one generation: pictures, or why there are none."""


@dataclass(slots=True)
class _Member:
    """One generation on its way: what is made of it so far, and how far its steps are."""

    generation: Generation
    on_step: OnStep | None
    pictures: dict[int, Picture] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    steps_before: int = 0
    failure: RequestError | None = None

    def progress(self, step: int, images: int) -> None:
        """Tells of a step in a call that makes `images` of this member's."""
        if self.on_step is not None:
            calls = -(-(self.generation.images - len(self.pictures)) // images)
            steps = self.steps_before + self.generation.steps * calls
            self.on_step(self.steps_before + step, steps)

    def outcome(self) -> Outcome:
        if self.failure is not None:
            return self.failure
        return Result(
            pictures=[self.pictures[place] for place in range(self.generation.images)],
            queue_seconds=0.0,
            text_encoder_seconds=self.seconds["text_encoder"],
            denoise_seconds=self.seconds["denoise"],
            vae_seconds=self.seconds["vae"],
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """Those images of a member that one call makes, by their places in it."""

    member: _Member
    places: range

    @property
    def generation(self) -> Generation:
        seeds = self.member.generation.seeds
        return replace(self.member.generation, seeds=tuple(seeds[place] for place in self.places))

    def split(self, size: int) -> Iterator["_Part"]:
        """Itself in pieces of at most so many images."""
        for begin in range(self.places.start, self.places.stop, size):
            yield _Part(self.member, range(begin, min(begin + size, self.places.stop)))


class BatchRunner:
    """One pipeline, and how many images at once its device was seen to hold.

    A second thread that calls it waits: the pipeline is not safe to share.
    """

    def __init__(self, pipeline: Pipeline, *, max_images: int, metrics: Metrics) -> None:
        self.pipeline = pipeline
        """Only to be asked about itself."""
        self.seconds_per_image = 1.0
        """What an image of the warm-up took."""
        self.startup = Startup(0.0, 0.0, 0.0, ())
        """How it was started, if `start_runner` did."""
        self._max_images = max_images
        self._metrics = metrics
        self._caps: dict[tuple[int, int, bool], int] = {}
        self._lock = threading.Lock()

    def cap(self, key: BatchKey) -> int:
        """The most images in one call, less than the configured once memory ran out."""
        return self._caps.get(_shape(key), self._max_images)

    def run(
        self,
        generations: Sequence[Generation],
        on_step: Sequence[OnStep | None] | None = None,
    ) -> list[Outcome]:
        """Makes the images of any mixture of generations.

        Those of one batch key share calls of at most `max_images`, in the order given; a
        generation is split over calls only if it alone is more than one can hold. A call that
        fails is made again for each member alone, so that only the bad one fails.

        Args:
            generations: of any batch keys.
            on_step: for each generation, what to tell of its steps.

        Returns:
            what became of each, in the order given.

        Raises:
            DeviceLost: nothing can be made any more.

        """
        listeners = on_step or [None] * len(generations)
        members = [_Member(g, tell) for g, tell in zip(generations, listeners, strict=True)]
        with self._lock:
            for group in _by_key(members):
                self._make(_whole(member) for member in group)
        return [member.outcome() for member in members]

    def warm_up(self, generation: Generation, sizes: Sequence[int]) -> None:
        """Makes the images once in each batch size, the smallest first.

        A size that memory does not allow lowers the cap; the smallest must succeed.

        Raises:
            Exception: whatever the pipeline raised.

        """
        fits = 0
        with self._lock:
            for size in sizes:
                try:
                    seconds = self._timed(generation, size)
                except OutOfMemory:
                    if not fits:
                        raise
                    self._lower_cap(generation.key, size, to=fits)
                    return
                self.seconds_per_image, fits = seconds / size, size

    def time_calls(self, generation: Generation) -> tuple[tuple[int, float], ...]:
        """Images and seconds of a call for each power of two up to the cap, and for the cap.

        None are made where the warm-up lets expect more than `TIMING_SECONDS` for all of them.
        """
        cap = self.cap(generation.key)
        sizes = sorted({*(2**exponent for exponent in range(cap.bit_length())), cap})
        if sum(sizes) * self.seconds_per_image > TIMING_SECONDS:
            return ()
        with self._lock:
            return tuple((size, self._timed(generation, size)) for size in sizes)

    def _timed(self, generation: Generation, size: int) -> float:
        seeds = tuple(generation.seeds[0] + place for place in range(size))
        begin = time.monotonic()
        self.pipeline([replace(generation, seeds=seeds)])
        return time.monotonic() - begin

    def _make(self, parts: Iterable[_Part]) -> None:
        """Makes parts that share a batch key, in as few calls as memory allows."""
        waiting = [part for part in parts if part.member.failure is None]
        while waiting:
            batch, waiting = _pack(waiting, self.cap(waiting[0].member.generation.key))
            try:
                self._call(batch)
            except OutOfMemory as error:
                self._shrink(batch, error)
            except DeviceLost:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the others must be served
                self._separate(batch, error)
            waiting = [part for part in waiting if part.member.failure is None]

    def _call(self, batch: Sequence[_Part]) -> None:
        key = batch[0].member.generation.key

        def on_step(step: int, _: int) -> None:
            for part in batch:
                part.member.progress(step, len(part.places))

        listened = any(part.member.on_step for part in batch)
        output = self.pipeline([part.generation for part in batch], on_step if listened else None)
        for part, pictures in zip(batch, output.pictures, strict=True):
            member = part.member
            member.pictures |= zip(part.places, pictures, strict=True)
            member.steps_before += key.steps
            for stage, seconds in output.seconds.items():
                member.seconds[stage] = member.seconds.get(stage, 0.0) + seconds
        images = _images(batch)
        self._metrics.batch_size.observe(images)
        self._metrics.images.inc(images)
        for stage, seconds in output.seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(seconds)

    def _shrink(self, batch: Sequence[_Part], error: OutOfMemory) -> None:
        """Makes a batch that was too large for the device's memory in halves."""
        images = _images(batch)
        if images == 1:
            self._fail(batch, error)
            return
        self._lower_cap(batch[0].member.generation.key, images, to=images // 2)
        self._make(batch)

    def _separate(self, batch: Sequence[_Part], error: Exception) -> None:
        """Makes each part of a batch that failed alone, to see whose fault it was."""
        if len(batch) == 1:
            self._fail(batch, error)
            return
        log.warning("a batch failed; its members are made alone", extra=failure_fields(error))
        for part in batch:
            self._make([part])

    def _lower_cap(self, key: BatchKey, images: int, to: int) -> None:
        self._caps[_shape(key)] = to
        log.warning(
            "the device's memory is too small for the batch",
            extra={"images": images, "from_now_on": to, "width": key.width, "height": key.height},
        )

    def _fail(self, batch: Sequence[_Part], error: Exception) -> None:
        error_id = uuid.uuid4().hex[:12]
        log.error(  # a traceback with its message could show a prompt
            "a generation failed", extra={"error_id": error_id} | failure_fields(error)
        )
        for part in batch:
            part.member.failure = EngineFailed(error_id)


def start_runner(
    load: Callable[[], Pipeline],
    warm_up: Callable[[Pipeline], Generation],
    *,
    max_images: int,
    metrics: Metrics,
    timed: bool = False,
) -> BatchRunner:
    """Loads a model and makes its first images, one batch of each size that is special to it.

    If `timed`, the pipeline's calls are then timed with nothing around them.

    Raises:
        StartupError: saying what keeps it from serving.

    """
    begin = time.monotonic()
    try:
        pipeline = load()
    except StartupError:
        raise
    except Exception as error:
        log.error("the model failed to load", extra=failure_fields(error))  # noqa: TRY400
        raise ModelLoadFailed(
            f"The model failed to load ({type(error).__name__}: {error}). "
            "Check that the directory is a whole Stable Diffusion pipeline."
        ) from error
    loaded = time.monotonic()
    runner = BatchRunner(pipeline, max_images=max_images, metrics=metrics)
    try:
        first = warm_up(pipeline)
        runner.warm_up(first, pipeline.batch_sizes or (1,))
        warm = time.monotonic()
        bare = runner.time_calls(first) if timed else ()
    except StartupError:
        raise
    except Exception as error:
        log.error("the warm-up image failed", extra=failure_fields(error))  # noqa: TRY400
        raise ModelLoadFailed(
            f"The model loaded, but its warm-up image failed ({type(error).__name__}: "
            f"{error}). Check the size, steps and precision that the service is set to."
        ) from error
    runner.startup = Startup(loaded - begin, warm - loaded, time.monotonic() - warm, bare)
    log.info(
        "the model is loaded and warm",
        extra={
            "load_seconds": round(runner.startup.load_seconds, 2),
            "warm_up_seconds": round(runner.startup.warm_up_seconds, 2),
            "device": pipeline.device,
            "dtype": pipeline.dtype,
        },
    )
    return runner


def _shape(key: BatchKey) -> tuple[int, int, bool]:
    """What a batch's memory depends on besides its length: guidance doubles the U-Net's work."""
    return key.width, key.height, key.guidance_scale > 1


def _by_key(members: Sequence[_Member]) -> list[list[_Member]]:
    """The members by batch key, the key of the first of them first."""
    groups: dict[BatchKey, list[_Member]] = {}
    for member in members:
        groups.setdefault(member.generation.key, []).append(member)
    return list(groups.values())


def _whole(member: _Member) -> _Part:
    return _Part(member, range(member.generation.images))


def _pack(parts: Sequence[_Part], cap: int) -> tuple[list[_Part], list[_Part]]:
    """The next call's parts, at most `cap` images, and what is left for later ones."""
    pieces = [piece for part in parts for piece in part.split(cap)]
    count, images = 0, 0
    for piece in pieces:
        images += len(piece.places)
        if images > cap:
            break
        count += 1
    return pieces[:count], pieces[count:]


def _images(batch: Sequence[_Part]) -> int:
    return sum(len(part.places) for part in batch)
