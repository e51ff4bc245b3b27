from dataclasses import replace
from typing import Any

from diffusion_serving.engine.cost_curve import CostCurve
from diffusion_serving.engine.image_request import ImageRequest, LoraUse
from diffusion_serving.engine.queued_request import QueuedRequest
from diffusion_serving.engine.step_schedule import (
    AGEING,
    Rules,
    Step,
    decodes_first,
    next_step,
    rank,
)
from stepping import FakeState

REFERENCE = 64 * 64 * 2
FLAT = CostCurve(REFERENCE, ((1, 0.1), (8, 0.1), (64, 0.1)), 64 * 64)
LINEAR = CostCurve(REFERENCE, ((1, 0.1), (8, 0.8)), 64 * 64)


def queued(
    steps: int = 4, images: int = 1, submitted: float = 0.0, **changes: Any
) -> QueuedRequest:
    fields: dict[str, Any] = {"guidance_scale": 2.0, "width": 64, "height": 64, **changes}
    request = ImageRequest("x", "", steps=steps, **fields, seeds=tuple(range(images)))
    return QueuedRequest(request, submitted=submitted)


def running(steps_left: int, steps: int = 30, **changes: Any) -> QueuedRequest:
    one = queued(steps, **changes)
    one.states = {
        place: FakeState(one.request, seed, steps_left)
        for place, seed in enumerate(one.request.seeds)
    }
    return one


def places(
    requests: list[QueuedRequest], curve: CostCurve = FLAT, images: int = 8, **rules: Any
) -> list[tuple[int, int]]:
    """The requests of the next step by their place in the list, and how many images of each."""
    step = next_step(requests, curve, Rules(images, **rules))
    assert step is not None
    return [(requests.index(one), len(chosen)) for one, chosen in step.parts]


def test_without_requests_there_is_no_step() -> None:
    assert next_step([], FLAT, Rules(8)) is None
    assert next_step([running(0)], FLAT, Rules(8)) is None


def test_the_least_remaining_cost_goes_first() -> None:
    requests = [queued(30), queued(4), running(2), queued(4, images=4)]
    assert places(requests, images=1) == [(2, 1)]
    assert places(requests, images=7) == [(2, 1), (1, 1), (3, 4), (0, 1)]


def test_all_that_are_there_share_a_step_of_the_same_cost() -> None:
    assert places([queued(30), queued(4), running(2)]) == [(2, 1), (1, 1), (0, 1)]


def test_one_goes_at_a_time_where_each_image_costs_as_much() -> None:
    assert places([queued(30), queued(4), queued(5)], LINEAR) == [(1, 1)]


def test_size_and_lora_keep_images_apart_and_nothing_else_does() -> None:
    lora = LoraUse("sketch", 0.5)
    requests = [
        queued(4),
        queued(9, guidance_scale=1.0),
        queued(5, width=72),
        queued(5, lora=lora),
        queued(6, guidance_scale=7.5),
    ]
    assert {place for place, _ in places(requests)} == {0, 1, 4}


def test_a_long_request_does_not_starve() -> None:
    """Short requests come for ever, each of them costs less, and the long one still starts."""
    long = queued(100)
    waits = 0.0
    while rank(long, LINEAR) > rank(queued(4, submitted=waits), LINEAR):
        waits += 1.0
    cost = (100 - 4) * 0.1
    assert cost / AGEING - 1 <= waits <= cost / AGEING + 1


def wait_behind_short_ones(long: QueuedRequest, patience: float) -> int:
    """Seconds until a request goes before the short ones that come in each second."""
    return next(
        second
        for second in range(10_000)
        if rank(long, LINEAR) <= rank(allowed(patience, 4, submitted=float(second)), LINEAR)
    )


def allowed(patience: float, *settings: Any, **changes: Any) -> QueuedRequest:
    """A request that may wait for so many seconds until it starts."""
    one = queued(*settings, **changes)
    one.deadline = one.submitted + patience
    return one


def test_a_long_request_starts_before_its_deadline_though_short_ones_keep_coming() -> None:
    assert wait_behind_short_ones(queued(100), 20.0) > 20, "its cost alone takes longer to make up"
    assert 10 < wait_behind_short_ones(allowed(20.0, 100), 20.0) < 20
    assert 30 < wait_behind_short_ones(allowed(60.0, 100), 60.0) < 34, "age alone is enough"


def test_a_long_request_that_has_begun_lets_short_ones_go_before_it_again() -> None:
    long = allowed(20.0, 100)
    long.begun = 1.0
    assert wait_behind_short_ones(long, 20.0) > 20


def test_a_request_that_costs_more_than_the_others_may_wait_is_not_put_before_them() -> None:
    assert wait_behind_short_ones(allowed(8.0, 100), 8.0) > 30


def test_memory_limits_a_step_by_pixels_and_always_lets_one_image_through() -> None:
    requests = [queued(images=4), queued(5, guidance_scale=1.0, images=4)]
    assert places(requests, max_pixels=4.0 * REFERENCE) == [(1, 4), (0, 2)]
    assert places([queued(images=4)], max_pixels=1.0) == [(0, 1)]


def test_room_is_what_a_step_could_still_take() -> None:
    def room(*requests: QueuedRequest, curve: CostCurve = FLAT, pixels: float = 1e9) -> int:
        step = next_step(requests, curve, Rules(8, pixels))
        assert step is not None
        return step.room

    assert room(queued(images=3)) == 5
    assert room(queued(images=9)) == 0
    assert room(queued(images=3), pixels=4.0 * REFERENCE) == 1
    assert room(queued(), queued(), curve=LINEAR) == 0, "the others wait for their turn"


FIXED = replace(FLAT, decoding=((1, 0.6), (2, 0.7), (8, 1.3)))
"""Decoding costs 0.5 s a call and 0.1 s an image."""


def first(
    curve: CostCurve = FIXED,
    done: int = 1,
    running_images: int = 8,
    most: int = 8,
    steps: int = 10,
    **changes: Any,
) -> bool:
    """Whether images are decoded before a step of one image with so many steps left."""
    step = Step([(running(steps, **changes), [0])], room=0)
    like = queued().request
    return decodes_first(curve, step, done=done, like=like, running=running_images, most=most)


def test_where_decoding_costs_as_much_for_each_image_nothing_is_gained_by_waiting() -> None:
    linear = replace(FLAT, decoding=((1, 0.5), (8, 4.0)))
    assert all(first(linear, done, 64, 64, steps) for done in (1, 7) for steps in (1, 100))


def test_the_fixed_cost_of_a_decoding_is_worth_a_wait_where_few_are_finished_and_many_run() -> None:
    assert [first(done=done) for done in (1, 2, 3, 4)] == [False, False, False, True]
    assert [first(running_images=running) for running in (1, 2, 3, 8)] == [True, True, False, False]


def test_no_image_waits_long_for_others() -> None:
    assert [first(steps=steps) for steps in (1, 10, 38, 40)] == [False, False, False, True]


def test_a_full_decoding_waits_for_nothing_however_soon_more_images_finish() -> None:
    assert [first(done=done, most=3, steps=1, running_images=64) for done in (1, 2, 3)] == [
        False,
        False,
        True,
    ]


def test_images_of_another_size_wait_for_none_of_a_step_that_they_cannot_join() -> None:
    assert first(width=72)
