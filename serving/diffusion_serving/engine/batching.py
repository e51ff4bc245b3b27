"""Decides which of the waiting requests share the next call of the pipeline.

Pure: reads no clock and takes no lock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from diffusion_serving.engine.image_request import BatchKey
from diffusion_serving.engine.queued_request import QueuedRequest


@dataclass(frozen=True)
class Batching:
    """The rules by which batches are formed.

    `max_wait` is how many seconds a batch's oldest request may wait for others to fill it. With
    `one_request` no two requests share a batch.
    """

    max_images: int = 8
    max_wait: float = 0.0
    one_request: bool = False


@dataclass
class _Group:
    """Waiting requests of one batch key, oldest first; `full` where more would not fit."""

    requests: list[QueuedRequest] = field(default_factory=list)
    images: int = 0
    full: bool = False

    def add(self, queued: QueuedRequest, room: int, batching: Batching) -> None:
        """Adds a request if it fits; always adds the first one, however many images it has."""
        images = self.images + queued.request.images
        if not self.requests or (images <= room and not batching.one_request):
            self.requests.append(queued)
            self.images = images
        else:
            self.full = True
        self.full |= self.images >= room or batching.one_request


def next_batch(
    waiting: Sequence[QueuedRequest],
    batching: Batching,
    cap: Callable[[BatchKey], int],
    now: float,
) -> tuple[Sequence[QueuedRequest], float]:
    """Returns the batch to run now; or none, and the time at which one will be due.

    The oldest request decides the batch key, and no younger request goes before it but those that
    share its batch. So a lone request waits for no more than was in the queue before it, however
    fast requests of another key arrive. Only while it waits for its batch to be filled may a
    younger batch that is full go ahead.

    Args:
        waiting: the queue, oldest first.
        batching: the service's rules.
        cap: the most images of a batch key that the device has memory for.
        now: the time, on the clock of `QueuedRequest.submitted`.

    """
    groups: dict[BatchKey, _Group] = {}
    for queued in waiting:
        key = queued.request.key
        room = min(batching.max_images, cap(key))
        groups.setdefault(key, _Group()).add(queued, room, batching)
    soonest = float("inf")
    for group in groups.values():
        due = group.requests[0].submitted + batching.max_wait
        if group.full or due <= now:
            return group.requests, now
        soonest = min(soonest, due)
    return (), soonest
