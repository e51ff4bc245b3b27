"""The bound of a device call, by the calls before it."""

import math
import threading

import pytest

from diffusion_serving.observability.device_calls import (
    PATIENCE,
    SHORTEST_BOUND,
    DeviceCall,
    DeviceCalls,
    Work,
)

SMALL = Work(images=1, pixels=512 * 512, steps=4)


def recorded(*calls: tuple[Work, float]) -> DeviceCalls:
    device = DeviceCalls()
    for work, seconds in calls:
        device.record(work, seconds)
    return device


def test_first_call_has_no_bound() -> None:
    assert math.isinf(DeviceCalls().bound(SMALL))


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (SMALL, 20.0),
        (SMALL._replace(steps=8), 40.0),
        (SMALL._replace(images=2), 80.0),
        (SMALL._replace(pixels=1024 * 1024), 320.0),
        (SMALL._replace(steps=1), 20.0),
    ],
    ids=["the same", "twice the steps", "two images", "four times the pixels", "a quarter"],
)
def test_bound_grows_with_the_work_by_the_longest_call(work: Work, seconds: float) -> None:
    assert recorded((SMALL, 20.0)).bound(work) == PATIENCE * seconds


def test_repeated_work_is_bounded_by_its_own_repeats_or_by_another_compilation() -> None:
    """Another LoRA, guidance or shape compiles again, though its work is known."""
    assert recorded((SMALL, 5.0), (SMALL, 4.0)).bound(SMALL) == PATIENCE * 4.0
    device = recorded((SMALL, 600.0), (SMALL, 5.0), (SMALL, 4.0))
    assert device.bound(SMALL) == 2 * 600.0
    assert device.bound(SMALL._replace(pixels=768 * 768)) > PATIENCE * 600.0


def test_stages_of_a_step_loop_have_times_of_their_own() -> None:
    decoding = SMALL._replace(stage="decode")
    device = recorded((SMALL, 0.1), (SMALL, 0.1), (decoding, 20.0), (decoding, 10.0))
    assert device.bound(decoding) == PATIENCE * 10.0


def test_quick_calls_have_the_shortest_bound() -> None:
    assert recorded((SMALL, 0.1), (SMALL, 0.1)).bound(SMALL) == SHORTEST_BOUND


def test_call_that_runs_is_known_until_its_end() -> None:
    device = recorded((SMALL, 1.0))
    seen = [device.running]
    device.begin(SMALL)
    seen.append(device.running)
    device.end()
    seen.append(device.running)
    assert [call and call.bound for call in seen] == [None, SHORTEST_BOUND, None]


def test_call_is_overdue_only_past_its_bound() -> None:
    call = DeviceCall(began=100.0, bound=30.0)
    assert [call.overdue(now) for now in (100.0, 130.0, 130.1)] == [False, False, True]


def test_two_threads_calls_run_at_a_time_and_the_first_to_be_due_is_shown() -> None:
    device = recorded((SMALL, 20.0), (SMALL, 20.0))
    check = SMALL._replace(stage="safety")
    device.record(check, 1.0)
    device.record(check, 0.1)
    device.begin(SMALL)
    seen: list[DeviceCall | None] = []

    def beside() -> None:
        device.begin(check)
        seen.append(device.running)
        device.end()

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    seen.append(device.running)
    assert [call and call.bound for call in seen] == [40.0, 200.0]
    device.end()
    assert device.running is None
