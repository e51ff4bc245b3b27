import io
import re

import pytest

from localcluster.console import Progress
from localcluster.errors import LocalClusterError


def test_a_line_begins_with_elapsed_seconds(progress: Progress, output: io.StringIO) -> None:
    progress.say("working")
    assert re.fullmatch(r"\[ *\d+\.\ds\] working\n", output.getvalue())


def test_waiting_names_the_missing_thing_once_per_change(
    progress: Progress, output: io.StringIO
) -> None:
    answers = iter(["the moon", "the moon", "the sun", None])
    progress.wait(lambda: next(answers), timeout=5, interval=0)
    lines = [line.partition("] ")[2] for line in output.getvalue().splitlines()]
    assert lines == ["waiting for the moon", "waiting for the sun"]


def test_waiting_reminds(progress: Progress, output: io.StringIO) -> None:
    answers = iter(["the moon"] * 3 + [None])
    progress.wait(lambda: next(answers), timeout=5, interval=0, reminder=0)
    assert output.getvalue().count("the moon") == 3


def test_a_timeout_names_the_missing_thing(progress: Progress) -> None:
    with pytest.raises(LocalClusterError, match=r"Gave up after 0 s of waiting for the moon\."):
        progress.wait(lambda: "the moon", timeout=0, interval=0.001)
