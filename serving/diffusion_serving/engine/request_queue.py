"""The queue in front of the device: bounded by cost, with deadlines, open to any thread."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from diffusion_serving.engine.errors import DeadlineExceeded, NotReady, QueueFull, RequestError
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine.queued_request import QueuedRequest

T = TypeVar("T")

Choice = tuple[T | None, Sequence[QueuedRequest], float]
"""The work to do now, the requests that leave the queue for it, and the time to ask again."""
Choose = Callable[[Sequence[QueuedRequest], float, bool], Choice[T]]
"""`choose(waiting, now, stopping)`: called with the queue's lock held."""

CLIENT_LEFT = "The client has left."
_SHARE = 0.5
"""The most of the bound that one waiting request takes, so that a single request of great cost
doesn't keep out all others, who would overtake it anyway: the least remaining cost goes first."""


class RequestQueue:
    """The requests that wait, and those that run in steps.

    Args:
        max_length: the bound, in requests of the service's own defaults.
        timeout: seconds that a request may wait before it starts.

    """

    def __init__(self, max_length: int, timeout: float) -> None:
        self._max_length = max_length
        self._timeout = timeout
        self._changed = threading.Condition()
        self._waiting: deque[QueuedRequest] = deque()
        self._running: dict[int, QueuedRequest] = {}
        self._stopping = False
        self.usual_work = 1
        """The work of a request of the service's own defaults, once the model is known."""
        self.seconds_per_work = 0.0
        """The seconds of a unit of work where the device is at its best."""
        self.on_arrival: Callable[[QueuedRequest], None] = lambda _: None
        """Called with each new request, with the queue's lock held."""

    @property
    def length(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def waiting_cost(self) -> float:
        """The cost of the requests that wait, in requests of the service's defaults."""
        with self._changed:
            return _work(self._waiting) / self.usual_work

    @property
    def running_cost(self) -> float:
        """The remaining cost of the requests that run, in requests of the service's defaults."""
        with self._changed:
            return _work(self._running.values()) / self.usual_work

    @property
    def stopping(self) -> bool:
        return self._stopping

    def add(self, request: ImageRequest, on_step: OnStep | None, refused: str) -> QueuedRequest:
        """Puts a request in the queue.

        A queue whose cost has reached the bound refuses it; below the bound even a large request is
        taken, or none of its kind would ever be. A request counts with half of the bound at most,
        or with that of the service's defaults where the bound is less than two of those.

        Raises:
            NotReady: the queue is closed; `refused` is the reason.
            QueueFull: the waiting requests cost as much as the bound.

        """
        now = time.monotonic()
        queued = QueuedRequest(request, now, now + self._timeout, on_step)
        with self._changed:
            if self._stopping:
                raise NotReady(refused)
            self._drop_expired(now)
            if self._counted() >= self._max_length * self.usual_work:
                raise QueueFull(self._max_length, self._retry_after())
            self._waiting.append(queued)
            self.on_arrival(queued)
            self._changed.notify()
        return queued

    def cancel(self, queued: QueuedRequest) -> bool:
        """Cancels a request that waits or runs in steps; False if it does neither."""
        with self._changed:
            if self._remove(queued):
                return queued.future.cancel()
            if self._running.get(id(queued)) is queued and not queued.abandoned:
                queued.abandoned = True
                self._changed.notify()
                return True
        return False

    def expire(self, queued: QueuedRequest) -> bool:
        """Fails a waiting request with `DeadlineExceeded`; False if it has left the queue."""
        with self._changed:
            if not self._remove(queued):
                return False
        fail(queued, DeadlineExceeded(self._timeout))
        return True

    def close(self) -> None:
        """Refuses new requests from now on."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def empty(self) -> list[QueuedRequest]:
        """Removes and returns all requests that wait or run, and closes the queue."""
        with self._changed:
            self._stopping = True
            left = [*self._waiting, *self._running.values()]
            self._waiting.clear()
            self._running.clear()
        return left

    def take(self, choose: Choose[T], *, in_steps: bool = False) -> T | None:
        """Waits for work; returns None once the queue is closed and there is none.

        With `in_steps` the requests that leave the queue run until `end`, and can be cancelled.
        """
        with self._changed:
            while True:
                now = time.monotonic()
                self._drop_expired(now)
                chosen, leaving, due = choose(self._waiting, now, self._stopping)
                if chosen is not None:
                    gone = {id(queued): queued for queued in leaving}
                    self._waiting = deque(each for each in self._waiting if id(each) not in gone)
                    if in_steps:
                        self._running |= gone
                    return chosen
                if self._stopping and math.isinf(due):
                    return None
                self._changed.wait(None if math.isinf(due) else max(0.0, due - now))

    def end(self, queued: QueuedRequest) -> None:
        """Records that a request runs no longer."""
        with self._changed:
            self._running.pop(id(queued), None)

    def _counted(self) -> float:
        """Returns the work of the waiting requests as the bound counts it. Needs the lock."""
        most = max(self.usual_work, _SHARE * self._max_length * self.usual_work)
        return sum(min(queued.work_left, most) for queued in self._waiting)

    def _remove(self, queued: QueuedRequest) -> bool:
        """Removes a waiting request. Needs the lock."""
        try:
            self._waiting.remove(queued)
        except ValueError:
            return False
        return True

    def _drop_expired(self, now: float) -> None:
        """Fails the requests that are past their deadline. Needs the lock."""
        while self._waiting and self._waiting[0].deadline <= now:
            fail(self._waiting.popleft(), DeadlineExceeded(self._timeout))

    def _retry_after(self) -> int:
        """Whole seconds until about half of the waiting work is done. Needs the lock."""
        return max(1, math.ceil(_work(self._waiting) / 2 * self.seconds_per_work))


def fail(queued: QueuedRequest, error: RequestError) -> None:
    """Fails a request, unless its caller has left before it started."""
    if queued.future.running() or queued.future.set_running_or_notify_cancel():
        queued.future.set_exception(error)


def _work(requests: Iterable[QueuedRequest]) -> int:
    return sum(queued.work_left for queued in requests)
