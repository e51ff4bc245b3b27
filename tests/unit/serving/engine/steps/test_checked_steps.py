"""The check of pictures beside the steps of others."""

from collections.abc import Callable

import pytest

from diffusion_serving.engine import Engine
from diffusion_serving.engine.errors import PicturesBlocked
from diffusion_serving.observability.startup_errors import ModelLoadFailed
from stepping import SteppedPipeline, image_request, results
from verdicts import BLUE, RED, RedChecker


@pytest.fixture
def checker(stepped: SteppedPipeline) -> RedChecker:
    stepped.checker = checker = RedChecker()
    return checker


def test_steps_of_others_go_on_while_a_picture_is_checked(
    checker: RedChecker, make: Callable[..., Engine]
) -> None:
    engine = make()
    assert checker.entered.acquire(timeout=30), "the warm-up's picture is checked, too"
    checker.hold()
    first = engine.submit(image_request("first", BLUE))
    assert checker.entered.acquire(timeout=30)
    steps: list[int] = []
    second = engine.submit(image_request("second", BLUE), lambda step, _: steps.append(step))
    while len(steps) < 4:
        assert not first.future.done()
    checker.release()
    assert results(first, second) == [[0xC0], [0xC0]]


def test_mixed_verdicts_of_requests_that_share_steps(
    checker: RedChecker, make: Callable[..., Engine], stepped: SteppedPipeline
) -> None:
    engine = make()
    stepped.hold()
    requests = [engine.submit(image_request(str(seed), seed)) for seed in (BLUE, RED, BLUE, RED)]
    stepped.release()
    outcomes = [request.future.exception(30) for request in requests]
    assert [isinstance(outcome, PicturesBlocked) for outcome in outcomes] == [
        False,
        True,
        False,
        True,
    ]
    assert results(requests[0], requests[2]) == [[0xC0], [0xC0]]


def test_stopping_engine_answers_the_requests_that_are_checked(
    checker: RedChecker, make: Callable[..., Engine]
) -> None:
    engine = make()
    assert checker.entered.acquire(timeout=30)
    checker.hold()
    request = engine.submit(image_request("last", BLUE))
    assert checker.entered.acquire(timeout=30)
    assert not engine.stop(0.01)
    checker.release()
    assert engine.stop(30)
    assert engine.ended.done()
    assert results(request) == [[0xC0]]


def test_engine_whose_checker_fails_is_never_ready(
    checker: RedChecker, build: Callable[..., Engine]
) -> None:
    checker.failing = {bytes(3)}  # the colour of the warm-up's picture
    engine = build()
    engine.start()
    with pytest.raises(ModelLoadFailed, match="safety checker Model failed"):
        engine.ready.result(30)
