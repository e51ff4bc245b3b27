import math
from typing import Any

from diffusion_serving.engine.batching import Batching, next_batch
from diffusion_serving.engine.image_request import BatchKey, ImageRequest, LoraUse
from diffusion_serving.engine.queued_request import QueuedRequest


def job(submitted: float = 0.0, images: int = 1, **changes: Any) -> QueuedRequest:
    fields: dict[str, Any] = {"steps": 4, "guidance_scale": 2.0, "width": 64, "height": 64}
    generation = ImageRequest("x", "", **{**fields, **changes}, seeds=tuple(range(images)))
    return QueuedRequest(generation, submitted=submitted, deadline=math.inf)


def taken(
    waiting: list[QueuedRequest], now: float = 0.0, cap: int = 100, **batching: Any
) -> list[int]:
    """Places in the queue of what is done next."""
    batch, _ = next_batch(waiting, Batching(**batching), lambda _: cap, now)
    return [waiting.index(job) for job in batch]


def test_nothing_waits_for_nothing() -> None:
    assert next_batch([], Batching(), lambda _: 8, 0.0) == ((), math.inf)


def test_oldest_decides_the_key_and_those_that_share_it_come_along() -> None:
    a, b = {"steps": 4}, {"steps": 5}
    assert taken([job(**a), job(**b), job(**a), job(**b)]) == [0, 2]


def test_each_part_of_the_key_keeps_jobs_apart() -> None:
    differences: list[dict[str, Any]] = [
        {},
        {"steps": 5},
        {"guidance_scale": 3.0},
        {"width": 72},
        {"height": 72},
        {"lora": LoraUse("sketch", 0.8)},
        {"lora": LoraUse("sketch", 0.7)},
    ]
    waiting = [job(**difference) for difference in differences]
    for place, difference in enumerate(differences):
        assert taken([job(**difference), *waiting]) == [0, place + 1]


def test_images_are_counted_not_jobs() -> None:
    assert taken([job(images=3), job(images=3), job(images=3)], max_images=8) == [0, 1]


def test_request_that_does_not_fit_leaves_its_place_to_a_smaller_one() -> None:
    assert taken([job(images=3), job(images=4), job(images=1)], max_images=4) == [0, 2]


def test_request_larger_than_the_cap_goes_alone() -> None:
    assert taken([job(images=9), job()], max_images=4) == [0]


def test_memory_may_allow_less_than_the_configuration() -> None:
    assert taken([job() for _ in range(8)], max_images=8, cap=3) == [0, 1, 2]


def test_memory_is_asked_about_the_key() -> None:
    def cap(key: BatchKey) -> int:
        return 1 if key.width == 128 else 8

    waiting = [job(width=128), job(width=128)]
    batch, _ = next_batch(waiting, Batching(), cap, 0.0)
    assert batch == waiting[:1]


def test_one_job_a_batch_keeps_its_images_together() -> None:
    assert taken([job(images=3), job()], one_request=True) == [0]


def test_batch_with_room_waits_for_as_long_as_it_may() -> None:
    waiting = [job(submitted=10.0), job(submitted=11.0)]
    batching = Batching(max_images=4, max_wait=5.0)
    assert next_batch(waiting, batching, lambda _: 8, 14.9) == ((), 15.0)
    assert next_batch(waiting, batching, lambda _: 8, 15.0)[0] == waiting


def test_full_batch_goes_ahead_of_an_older_one_that_waits_to_be_filled() -> None:
    waiting = [job(submitted=10.0), *(job(submitted=11.0, steps=9) for _ in range(4))]
    assert taken(waiting, now=12.0, max_images=4, max_wait=5.0) == [1, 2, 3, 4]
    assert taken(waiting, now=15.0, max_images=4, max_wait=5.0) == [0]


def test_batch_is_full_when_the_next_does_not_fit() -> None:
    waiting = [job(images=3), job(images=2)]
    assert taken(waiting, now=1.0, max_images=4, max_wait=5.0) == [0]
