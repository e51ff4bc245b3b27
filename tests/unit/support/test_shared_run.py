"""Values that the workers of a test run share."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared_run import SharedRun


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedRun:
    monkeypatch.setenv("DIFFUSION_TESTS_RUN", str(tmp_path))
    return SharedRun()


def test_a_value_is_made_by_the_first_caller_and_given_to_all(run: SharedRun) -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    with ThreadPoolExecutor(4) as threads:
        values = list(threads.map(lambda _: SharedRun().once("thing", make), range(4)))
    assert (values, made, run.made("thing")) == ([1] * 4, [1], 1)


def test_a_value_that_could_not_be_made_is_tried_again_by_the_next_caller(run: SharedRun) -> None:
    with pytest.raises(ZeroDivisionError):
        run.once("thing", lambda: 1 / 0)
    assert run.made("thing") is None
    assert run.once("thing", lambda: 2) == 2


def test_a_test_is_over_for_all_workers_once_one_says_so(run: SharedRun) -> None:
    assert not SharedRun().is_over("a test")
    run.end("a test")
    assert SharedRun().is_over("a test")
    assert not SharedRun().is_over("another test")
