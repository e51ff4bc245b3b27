import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from diffusion_serving.engine.errors import NotReady, QueueFull
from diffusion_serving.engine.image_request import ImageRequest
from diffusion_serving.engine.queued_request import QueuedRequest
from diffusion_serving.engine.request_queue import Choice, RequestQueue

USUAL = ImageRequest("x", "", 4, 2.0, 64, 64, (0,))


@pytest.fixture
def queue() -> RequestQueue:
    """A queue of five usual requests, each of which takes two seconds."""
    queue = RequestQueue(5, 60.0)
    queue.usual_work = USUAL.work
    queue.seconds_per_work = 2.0 / USUAL.work
    return queue


def add(queue: RequestQueue, **changes: object) -> QueuedRequest:
    return queue.add(replace(USUAL, **changes), None, "closed")  # type: ignore[arg-type] # of each field's own type


def first(waiting: Sequence[QueuedRequest], now: float, _: bool) -> Choice[QueuedRequest]:
    return (waiting[0], [waiting[0]], now) if waiting else (None, (), math.inf)


def test_the_bound_counts_cost(queue: RequestQueue) -> None:
    add(queue, steps=8)
    add(queue, seeds=(1, 2))
    assert queue.waiting_cost == 4
    add(queue)
    with pytest.raises(QueueFull):
        add(queue, steps=1)


def test_a_request_larger_than_the_whole_queue_leaves_half_of_it_to_others(
    queue: RequestQueue,
) -> None:
    add(queue)
    add(queue, steps=400)
    assert queue.waiting_cost == 101, "the metric has the whole cost"
    add(queue)
    add(queue)
    with pytest.raises(QueueFull) as refused:
        add(queue)
    assert refused.value.retry_after == 103, "the seconds of half of the whole cost"


def test_two_large_requests_fill_the_queue(queue: RequestQueue) -> None:
    add(queue, steps=400)
    add(queue, steps=400)
    with pytest.raises(QueueFull):
        add(queue, steps=1)


def test_a_queue_of_one_request_holds_one() -> None:
    queue = RequestQueue(1, 60.0)
    queue.usual_work = USUAL.work
    add(queue, steps=400)
    with pytest.raises(QueueFull):
        add(queue)


def test_a_running_request_can_be_cancelled_once_and_costs_what_is_left(
    queue: RequestQueue,
) -> None:
    queued = add(queue, steps=8)
    assert queue.take(first, in_steps=True) is queued
    assert (queue.length, queue.waiting_cost, queue.running_cost) == (0, 0, 2)
    assert [queue.cancel(queued), queue.cancel(queued)] == [True, False]
    assert queued.abandoned
    queue.end(queued)
    assert queue.running_cost == 0


def test_a_whole_call_cannot_be_cancelled(queue: RequestQueue) -> None:
    queued = add(queue)
    assert queue.take(first) is queued
    assert not queue.cancel(queued)


def test_a_closed_queue_ends_when_it_is_empty_and_takes_no_more(queue: RequestQueue) -> None:
    queued = add(queue)
    queue.close()
    with pytest.raises(NotReady, match="closed"):
        add(queue)
    assert queue.take(first) is queued
    assert queue.take(first) is None
