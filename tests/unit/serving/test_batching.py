import math
from typing import Any

from diffusion_serving.engine.batching import Batching, next_batch
from diffusion_serving.engine.image_request import BatchKey, ImageRequest, LoraUse
from diffusion_serving.engine.queued_request import QueuedRequest


def queued(submitted: float = 0.0, images: int = 1, **changes: Any) -> QueuedRequest:
    fields: dict[str, Any] = {"steps": 4, "guidance_scale": 2.0, "width": 64, "height": 64}
    request = ImageRequest("x", "", **{**fields, **changes}, seeds=tuple(range(images)))
    return QueuedRequest(request, submitted=submitted, deadline=math.inf)


def next_places(
    waiting: list[QueuedRequest], now: float = 0.0, cap: int = 100, **batching: Any
) -> list[int]:
    """Places in the queue of the requests in the next batch."""
    batch, _ = next_batch(waiting, Batching(**batching), lambda _: cap, now)
    return [waiting.index(queued) for queued in batch]


def test_an_empty_queue_has_no_batch_and_no_due_time() -> None:
    assert next_batch([], Batching(), lambda _: 8, 0.0) == ((), math.inf)


def test_oldest_request_decides_the_key_and_requests_that_share_it_join() -> None:
    a, b = {"steps": 4}, {"steps": 5}
    assert next_places([queued(**a), queued(**b), queued(**a), queued(**b)]) == [0, 2]


def test_each_part_of_the_key_keeps_requests_apart() -> None:
    differences: list[dict[str, Any]] = [
        {},
        {"steps": 5},
        {"guidance_scale": 3.0},
        {"width": 72},
        {"height": 72},
        {"lora": LoraUse("sketch", 0.8)},
        {"lora": LoraUse("sketch", 0.7)},
    ]
    waiting = [queued(**difference) for difference in differences]
    for place, difference in enumerate(differences):
        assert next_places([queued(**difference), *waiting]) == [0, place + 1]


def test_images_are_counted_not_requests() -> None:
    assert next_places([queued(images=3), queued(images=3), queued(images=3)], max_images=8) == [
        0,
        1,
    ]


def test_request_that_does_not_fit_leaves_its_place_to_a_smaller_one() -> None:
    assert next_places([queued(images=3), queued(images=4), queued(images=1)], max_images=4) == [
        0,
        2,
    ]


def test_request_larger_than_the_cap_goes_alone() -> None:
    assert next_places([queued(images=9), queued()], max_images=4) == [0]


def test_memory_may_allow_less_than_the_configuration() -> None:
    assert next_places([queued() for _ in range(8)], max_images=8, cap=3) == [0, 1, 2]


def test_the_cap_by_memory_depends_on_the_key() -> None:
    def cap(key: BatchKey) -> int:
        return 1 if key.width == 128 else 8

    waiting = [queued(width=128), queued(width=128)]
    batch, _ = next_batch(waiting, Batching(), cap, 0.0)
    assert batch == waiting[:1]


def test_a_batch_of_one_request_keeps_its_images_together() -> None:
    assert next_places([queued(images=3), queued()], one_request=True) == [0]


def test_batch_with_room_waits_for_as_long_as_it_may() -> None:
    waiting = [queued(submitted=10.0), queued(submitted=11.0)]
    batching = Batching(max_images=4, max_wait=5.0)
    assert next_batch(waiting, batching, lambda _: 8, 14.9) == ((), 15.0)
    assert next_batch(waiting, batching, lambda _: 8, 15.0)[0] == waiting


def test_full_batch_goes_ahead_of_an_older_one_that_waits_to_be_filled() -> None:
    waiting = [queued(submitted=10.0), *(queued(submitted=11.0, steps=9) for _ in range(4))]
    assert next_places(waiting, now=12.0, max_images=4, max_wait=5.0) == [1, 2, 3, 4]
    assert next_places(waiting, now=15.0, max_images=4, max_wait=5.0) == [0]


def test_batch_is_full_when_the_next_request_does_not_fit() -> None:
    waiting = [queued(images=3), queued(images=2)]
    assert next_places(waiting, now=1.0, max_images=4, max_wait=5.0) == [0]
