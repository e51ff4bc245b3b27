"""The lines of the check's table: a figure and its verdict for each."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class Verdict(enum.Enum):
    """The verdict of a line."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Line:
    """A check with what it measured. `reason` says why it failed or was skipped."""

    check: str
    figure: str
    verdict: Verdict
    reason: str = ""


def judged(check: str, figure: str, *, holds: bool, otherwise: str) -> Line:
    """Returns a line that passes if `holds`, and else fails for the reason `otherwise`."""
    if holds:
        return passed(check, figure)
    return Line(check, figure, Verdict.FAIL, otherwise)


def passed(check: str, figure: str) -> Line:
    """Returns the line of a check that raises where it fails."""
    return Line(check, figure, Verdict.PASS)


def skipped(check: str, reason: str, figure: str = "") -> Line:
    return Line(check, figure, Verdict.SKIPPED, reason)


_WIDTH = 34
_FIGURE_WIDTH = 78


def row(line: Line) -> str:
    """Returns the line as a row of the table; a reason has a row of its own."""
    text = f"{line.check:{_WIDTH}} {line.figure:{_FIGURE_WIDTH}} {line.verdict.value}".rstrip()
    return f"{text}\n{'':{_WIDTH}} {line.reason}" if line.reason else text


def head() -> str:
    """Returns the first row of the table."""
    return f"{'CHECK':{_WIDTH}} {'FIGURE':{_FIGURE_WIDTH}} RESULT"


def summary(lines: Sequence[Line]) -> str:
    """Returns how many lines there are of each verdict."""
    counts = dict.fromkeys(Verdict, 0)
    for line in lines:
        counts[line.verdict] += 1
    return (
        f"{counts[Verdict.PASS]} passed, {counts[Verdict.FAIL]} failed, "
        f"{counts[Verdict.SKIPPED]} skipped"
    )
