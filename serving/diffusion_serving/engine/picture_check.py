"""The check of pictures by a safety checker, beside the device's next steps."""

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from diffusion_serving.engine.blur import blurred
from diffusion_serving.engine.errors import EngineFailed, PicturesBlocked
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import Checker, Picture
from diffusion_serving.engine.queued_request import Outcome, QueuedRequest, Result
from diffusion_serving.observability.logs import failure_fields
from diffusion_serving.observability.metrics import Metrics
from diffusion_serving.observability.startup_errors import DeviceLost, ModelLoadFailed

log = logging.getLogger("diffusion_serving")

_MOST_PICTURES = 8
"""Pictures in one call of the checker: more would need more memory and win little time."""
_MOST_WAITING = 32
"""Requests that may wait for the checker. A checker slower than the engine then holds the engine
back, so that the queue's own bound refuses requests, and finished pictures don't fill the memory.
"""
_RECENT = 0.2
"""The weight of the last check in the moving average of the seconds."""
_FAILED = "Its safety checker failed, and no picture leaves this service unchecked. Try again."


@dataclass(frozen=True, slots=True)
class _Finished:
    """A request whose pictures are finished, at that time by `time.monotonic`."""

    queued: QueuedRequest
    result: Result
    since: float


class PictureCheck:
    """The check of finished pictures: by a checker on a thread of its own, or by none.

    Args:
        checker: the checker, for one thread at a time; None lets every picture pass.
        metrics: the metrics of the engine's process.
        blur: whether a blocked picture is blurred; its request is refused otherwise.

    """

    def __init__(self, checker: Checker | None, metrics: Metrics, *, blur: bool = False) -> None:
        self._checker = checker
        self._metrics = metrics
        self._blur = blur
        self._waiting: deque[_Finished] = deque()
        self._room = threading.Semaphore(_MOST_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="safety")
        self._lost: DeviceLost | None = None
        """Set once the checker's device has failed, for the thread of the engine."""
        self.seconds = 0.0
        """The seconds from finished pictures to their answer lately; 0 without a checker."""

    @property
    def name(self) -> str | None:
        """The checker's name; None where there is no checker."""
        return None if self._checker is None else self._checker.name

    def warm_up(self, picture: Picture) -> None:
        """Checks a picture whose verdict doesn't matter.

        Raises:
            ModelLoadFailed: the checker doesn't work.

        """
        if self._checker is None:
            return
        begin = time.monotonic()
        try:
            self._checker([picture])
        except Exception as error:
            raise ModelLoadFailed(
                f"The model loaded, but its safety checker {self._checker.name} failed on the "
                f"warm-up image ({type(error).__name__}: {error}). Copy the checker again, set "
                "another one as safety.checker, or None."
            ) from error
        self.seconds = time.monotonic() - begin

    def answer(self, finished: Sequence[tuple[QueuedRequest, Result]]) -> None:
        """Resolves the futures of requests, after the check of their pictures if there is one.

        Returns before the check, so that the caller's thread goes on with the device.

        Raises:
            DeviceLost: an earlier check has found that the device is gone.

        """
        if not finished:
            return
        if self._checker is None:
            for queued, result in finished:
                queued.future.set_result(result)
            return
        if self._lost is not None:
            for queued, _ in finished:
                queued.future.set_exception(_unchecked(self._lost))
            raise self._lost
        now = time.monotonic()
        for queued, result in finished:
            self._room.acquire()
            self._waiting.append(_Finished(queued, result, now))
            self._thread.submit(self._check_waiting)

    def applied(
        self, requests: Sequence[ImageRequest], outcomes: Sequence[Outcome]
    ) -> list[Outcome]:
        """Returns the outcomes of requests after the check, in the calling thread."""
        checker, begin = self._checker, time.monotonic()
        if checker is None:
            return list(outcomes)
        results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        pictures = [picture for result in results for picture in result.pictures]
        verdicts = iter(_verdicts(checker, pictures))
        return [
            self._judged(request, outcome, [next(verdicts) for _ in outcome.pictures], begin)
            if isinstance(outcome, Result)
            else outcome
            for request, outcome in zip(requests, outcomes, strict=True)
        ]

    def close(self) -> None:
        """Waits until every request is answered."""
        self._thread.shutdown()

    def _check_waiting(self) -> None:
        """Checks and answers the requests that wait, as many as one call of the checker takes.

        Called once for each of them; the last calls find none.
        """
        batch: list[_Finished] = []
        pictures = 0
        while self._waiting and (not batch or pictures < _MOST_PICTURES):
            batch.append(self._waiting.popleft())
            pictures += len(batch[-1].result.pictures)
        if not batch:
            return
        requests = [finished.queued.request for finished in batch]
        outcomes: Sequence[Outcome]
        try:
            outcomes = self.applied(requests, [finished.result for finished in batch])
        except Exception as error:  # noqa: BLE001 - a request without an outcome would never end
            if isinstance(error, DeviceLost):
                self._lost = error
            outcomes = [_unchecked(error)] * len(batch)
        now = time.monotonic()
        self.seconds += _RECENT * (now - batch[-1].since - self.seconds)
        for finished, outcome in zip(batch, outcomes, strict=True):
            self._room.release()
            if isinstance(outcome, Result):
                checked = replace(outcome, safety_seconds=now - finished.since)
                finished.queued.future.set_result(checked)
            else:
                finished.queued.future.set_exception(outcome)

    def _judged(
        self,
        request: ImageRequest,
        result: Result,
        verdicts: Sequence[bool | Exception],
        begin: float,
    ) -> Outcome:
        """Returns the outcome of a request whose pictures have these verdicts."""
        seconds = time.monotonic() - begin
        self._metrics.stage_seconds.labels("safety").observe(seconds)
        if error := next((each for each in verdicts if isinstance(each, Exception)), None):
            return _unchecked(error)
        blocked = tuple(place for place, verdict in enumerate(verdicts) if verdict)
        self._metrics.checked.labels("blocked").inc(len(blocked))
        self._metrics.checked.labels("passed").inc(len(verdicts) - len(blocked))
        if blocked and not self._blur:
            return PicturesBlocked(tuple(request.seeds[place] for place in blocked), request.images)
        pictures = [
            blurred(picture) if place in blocked else picture
            for place, picture in enumerate(result.pictures)
        ]
        return replace(result, pictures=pictures, blocked=blocked, safety_seconds=seconds)


def _verdicts(checker: Checker, pictures: Sequence[Picture]) -> list[bool | Exception]:
    """Returns whether each picture is blocked, or the error of the check of that one alone."""
    if len(pictures) > _MOST_PICTURES:
        first, rest = pictures[:_MOST_PICTURES], pictures[_MOST_PICTURES:]
        return [*_verdicts(checker, first), *_verdicts(checker, rest)]
    if not pictures:
        return []
    try:
        verdicts: list[bool | Exception] = [*checker(pictures)]
        if len(verdicts) != len(pictures):
            raise ValueError(f"{len(verdicts)} verdicts on {len(pictures)} pictures")  # noqa: TRY301 - handled like the checker's own errors
        return verdicts  # noqa: TRY300 - same
    except DeviceLost:
        raise
    except Exception as error:  # noqa: BLE001 - any failure leaves the others to be answered
        if len(pictures) == 1:
            return [error]
        # A message could describe a picture, so the log gets the error's kind and place alone.
        log.warning("a check failed; its pictures are checked alone", extra=failure_fields(error))
    return [verdict for picture in pictures for verdict in _verdicts(checker, [picture])]


def _unchecked(error: Exception) -> EngineFailed:
    error_id = uuid.uuid4().hex[:12]
    log.error("the check of a picture failed", extra={"error_id": error_id} | failure_fields(error))
    return EngineFailed(error_id, _FAILED)
