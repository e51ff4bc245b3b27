"""The check of pictures: verdicts, failures, blur, order, and its own thread."""

import pickle
import threading
from typing import Any

import pytest

from diffusion_serving.engine import QueuedRequest, Result
from diffusion_serving.engine.blur import blurred
from diffusion_serving.engine.errors import EngineFailed, PicturesBlocked
from diffusion_serving.engine.picture_check import PictureCheck
from diffusion_serving.engine.pipeline_interface import Picture
from diffusion_serving.observability.metrics import make_metrics
from diffusion_serving.observability.startup_errors import DeviceLost, ModelLoadFailed
from image_requests import image_request
from verdicts import BLUE, RED, RedChecker, colour_of

SIDE = 16


@pytest.fixture
def checker() -> RedChecker:
    return RedChecker()


def painted(seed: int) -> Picture:
    return Picture(SIDE, SIDE, seed.to_bytes(3, "big") * SIDE**2)


def finished(*seeds: int) -> tuple[QueuedRequest, Result]:
    queued = QueuedRequest(image_request("x", *seeds), 0.0)
    return queued, Result([painted(seed) for seed in seeds], 0.0, 0.1, 0.2, 0.3)


def applied(checker: Any, *outcomes: tuple[QueuedRequest, Any], blur: bool = False) -> list[Any]:
    check = PictureCheck(checker, make_metrics(), blur=blur)
    return check.applied(
        [queued.request for queued, _ in outcomes], [result for _, result in outcomes]
    )


def test_without_a_checker_the_result_is_given_as_it_is() -> None:
    check = PictureCheck(None, make_metrics())
    queued, result = finished(RED)
    check.answer([(queued, result)])
    assert queued.future.result(0) is result
    assert (check.name, result.safety_seconds) == (None, None)


def test_blocked_request_is_refused_by_its_seeds_and_the_others_are_unharmed(
    checker: RedChecker,
) -> None:
    one, mixed, other = applied(checker, finished(BLUE), finished(BLUE, RED), finished(BLUE + 1))
    assert [colour_of(one.pictures[0]), colour_of(other.pictures[0])] == [
        bytes([0, 0, 0xC0]),
        bytes([0, 0, 0xC1]),
    ]
    assert isinstance(mixed, PicturesBlocked)
    assert "1 of 2 images (seed 12582912) is blocked" in str(mixed)
    assert (mixed.seeds, mixed.images) == ((RED,), 2)
    again = pickle.loads(pickle.dumps(mixed))  # noqa: S301 - it crosses processes so
    assert (str(again), again.seeds) == (str(mixed), mixed.seeds)


def test_blur_says_which_picture_is_blocked_and_leaves_the_others(checker: RedChecker) -> None:
    queued, result = finished(BLUE, RED)
    (outcome,) = applied(checker, (queued, result), blur=True)
    assert outcome.blocked == (1,)
    assert outcome.pictures[0] is result.pictures[0]
    assert outcome.pictures[1] is not result.pictures[1]


def test_pictures_that_differ_in_detail_alone_are_the_same_when_blurred() -> None:
    width, height = 64, 48

    def striped(shift: int) -> Picture:
        rows = [
            bytes((250 if (x + y + shift) % 2 else 50, 0, x))
            for y in range(height)
            for x in range(width)
        ]
        return Picture(width, height, b"".join(rows))

    one, other = blurred(striped(0)), blurred(striped(1))
    assert (one.width, one.height, len(one.rgb)) == (width, height, 3 * width * height)
    assert one.rgb == other.rgb
    assert {*one.rgb[::3]} == {150}, "the mean of each patch is left"
    assert one.rgb[2] < one.rgb[-1], "and the patches differ as those of the picture"


@pytest.mark.parametrize(("width", "height"), [(8, 8), (64, 2048), (1024, 8)])
def test_blurred_picture_has_the_same_size(width: int, height: int) -> None:
    picture = blurred(Picture(width, height, bytes(3 * width * height)))
    assert (picture.width, picture.height, len(picture.rgb)) == (width, height, 3 * width * height)


def test_outcome_that_is_no_result_stays(checker: RedChecker) -> None:
    queued, result = finished(BLUE)
    failed = EngineFailed("1")
    assert applied(checker, (queued, failed), (queued, result))[0] is failed
    assert checker.calls == [1]


def test_picture_that_cannot_be_checked_is_not_given_away_and_the_others_are(
    checker: RedChecker,
) -> None:
    checker.failing = {bytes([0, 0, 0xC1])}
    one, failed, other = applied(checker, finished(BLUE), finished(BLUE + 1), finished(RED))
    assert isinstance(one, Result)
    assert isinstance(failed, EngineFailed)
    assert "no picture leaves this service unchecked" in failed.cause
    assert isinstance(other, PicturesBlocked)


def test_checker_without_memory_for_all_checks_one_by_one(checker: RedChecker) -> None:
    checker.memory = 1
    (mixed,) = applied(checker, finished(BLUE, RED, BLUE))
    assert mixed.seeds == (RED,)
    assert checker.calls == [3, 1, 1, 1]


def test_large_request_is_checked_in_parts(checker: RedChecker) -> None:
    (outcome,) = applied(checker, finished(*range(BLUE, BLUE + 20)))
    assert len(outcome.pictures) == 20
    assert checker.calls == [8, 8, 4]


def test_checker_with_too_few_verdicts_gives_no_picture(checker: RedChecker) -> None:
    class Silent(RedChecker):
        def __call__(self, _: Any) -> list[bool]:
            return []

    (outcome,) = applied(Silent(), finished(BLUE))
    assert isinstance(outcome, EngineFailed)


def test_answer_comes_from_another_thread_and_the_caller_goes_on(checker: RedChecker) -> None:
    check = PictureCheck(checker, make_metrics())
    checker.hold()
    requests = [finished(seed) for seed in (BLUE, RED, BLUE + 1)]
    for queued, result in requests:
        check.answer([(queued, result)])  # returns, though the checker is held
    assert not any(queued.future.done() for queued, _ in requests)
    checker.release()
    first, blocked, last = (queued.future for queued, _ in requests)
    assert (first.result(30).safety_seconds or 0) > 0
    assert isinstance(blocked.exception(30), PicturesBlocked)
    assert colour_of(last.result(30).pictures[0]) == bytes([0, 0, 0xC1])
    check.close()
    assert threading.get_ident() not in checker.threads
    assert checker.calls[0] + sum(checker.calls[1:]) == 3
    assert len(checker.calls) <= 3


def test_slow_checker_holds_the_engine_back(
    checker: RedChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusion_serving.engine.picture_check._MOST_WAITING", 2)
    check = PictureCheck(checker, make_metrics())
    checker.hold()
    entered = threading.Event()
    requests = [finished(BLUE) for _ in range(3)]

    def engine() -> None:
        for queued, result in requests[:2]:
            check.answer([(queued, result)])
        entered.set()
        check.answer([requests[2]])

    thread = threading.Thread(target=engine)
    thread.start()
    assert entered.wait(30)
    assert checker.entered.acquire(timeout=30)
    thread.join(0.05)
    assert thread.is_alive()
    checker.release()
    thread.join(30)
    assert [queued.future.result(30).blocked for queued, _ in requests] == [()] * 3
    check.close()


def test_more_answers_at_once_than_may_wait_are_all_given(
    checker: RedChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffusion_serving.engine.picture_check._MOST_WAITING", 2)
    check = PictureCheck(checker, make_metrics())
    requests = [finished(BLUE) for _ in range(5)]
    engine = threading.Thread(target=check.answer, args=(requests,), daemon=True)
    engine.start()
    engine.join(30)
    assert not engine.is_alive()
    check.close()
    assert all(queued.future.done() for queued, _ in requests)


def test_a_device_that_a_check_loses_ends_the_engine_at_its_next_answer() -> None:
    class Broken(RedChecker):
        def __call__(self, _: Any) -> list[bool]:
            raise DeviceLost("the GPU is gone")

    with pytest.raises(DeviceLost):
        applied(Broken(), finished(BLUE))
    broken: Any = Broken()
    check = PictureCheck(broken, make_metrics())
    first, second = finished(BLUE), finished(BLUE)
    check.answer([first])
    assert isinstance(first[0].future.exception(30), EngineFailed)
    with pytest.raises(DeviceLost):
        check.answer([second])
    assert isinstance(second[0].future.exception(0), EngineFailed)


def test_time_of_a_check_is_known_from_the_warm_up_on(checker: RedChecker) -> None:
    check = PictureCheck(checker, make_metrics())
    assert check.seconds == 0
    check.warm_up(painted(BLUE))
    first = check.seconds
    assert first > 0
    queued, result = finished(BLUE)
    check.answer([(queued, result)])
    check.close()
    assert check.seconds != first


def test_close_waits_for_every_answer(checker: RedChecker) -> None:
    check = PictureCheck(checker, make_metrics())
    requests = [finished(BLUE) for _ in range(20)]
    for queued, result in requests:
        check.answer([(queued, result)])
    check.close()
    assert all(queued.future.done() for queued, _ in requests)


def test_metrics_count_verdicts_and_time_the_stage(checker: RedChecker) -> None:
    metrics = make_metrics()
    check = PictureCheck(checker, metrics)
    requests = [finished(BLUE, RED), finished(BLUE)]
    check.applied([queued.request for queued, _ in requests], [result for _, result in requests])

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    assert sample("diffusion_checked_images_total", verdict="blocked") == 1
    assert sample("diffusion_checked_images_total", verdict="passed") == 2
    assert sample("diffusion_stage_seconds_count", stage="safety") == 2


def test_checker_that_fails_on_the_warm_up_image_is_named(checker: RedChecker) -> None:
    checker.failing = {bytes([0, 0, 0xC0])}
    with pytest.raises(ModelLoadFailed, match="its safety checker Model failed on the warm-up"):
        PictureCheck(checker, make_metrics()).warm_up(painted(BLUE))
