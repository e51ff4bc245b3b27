"""The table of the check of a GPU: verdicts, failures, the time limit and the exit code."""

from collections.abc import Iterator

import pytest

from diffusion_serving.gpu_check.command import Table
from diffusion_serving.gpu_check.lines import Line, judged, passed, skipped


def lines(*given: Line) -> Iterator[Line]:
    yield from given


def test_a_line_has_its_figure_and_verdict_and_below_it_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table(60.0)
    table.add(judged("memory", "3 GiB", holds=False, otherwise="4 are needed"))
    header, row, reason = capsys.readouterr().out.splitlines()
    assert header.split() == ["CHECK", "FIGURE", "RESULT"]
    assert row.split() == ["memory", "3", "GiB", "FAIL"]
    assert row.index("3 GiB") == header.index("FIGURE") == reason.index("4")
    assert reason.strip() == "4 are needed"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (passed("a", "1"), 0),
        (skipped("a", "no GPU"), 0),
        (judged("a", "1", holds=True, otherwise="no"), 0),
        (judged("a", "1", holds=False, otherwise="no"), 1),
    ],
)
def test_the_exit_code_is_1_if_a_check_failed(line: Line, code: int) -> None:
    table = Table(60.0)
    assert table.take("a", lambda: lines(line))
    assert table.end() == code


def test_a_check_that_raises_is_a_line_that_failed_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> Iterator[Line]:
        yield passed("first", "1")
        raise RuntimeError("no kernel")

    table = Table(60.0)
    assert not table.take("second", broken)
    assert table.take("third", lambda: lines(passed("third", "3")))
    assert table.end() == 1
    output = capsys.readouterr().out
    assert "RuntimeError: no kernel" in output
    assert "3 passed, 1 failed, 0 skipped" in output


def test_a_check_that_would_begin_after_the_limit_is_skipped_and_the_limit_is_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table(-1.0)
    assert not table.take("late", lambda: lines(passed("late", "1")))
    assert table.end() == 1
    assert [line.check for line in table.lines] == ["late", "time"]
    assert "the whole check took too long" in capsys.readouterr().out
