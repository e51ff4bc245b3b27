"""Measured figures and their goals."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the table; a figure without a goal is shown without a verdict."""

    figure: str
    subject: str
    value: float
    unit: str
    goal: float | None = None
    """The upper limit of the value; the lower limit if `at_least`."""
    against: str = ""
    """The same figure of other programs, for comparison."""
    at_least: bool = False
    failed: bool = False
    """Whether the measurement failed."""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def failure(figure: str, subject: str, why: str) -> Figure:
    """The line of a measurement that failed."""
    return Figure(figure, subject, 0, "", goal=1, against=why, at_least=True, failed=True)


def exit_code(figures: Sequence[Figure]) -> int:
    """1 if a measurement failed; a missed goal only shows in the table."""
    return int(any(figure.failed for figure in figures))


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned text."""
    header = ("figure", "subject", "value", "unit", "goal", "met", "against")
    rows = [header, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    goal = "" if figure.goal is None else f"{'≥' if figure.at_least else '≤'} {figure.goal:.4g}"
    met = {None: "", True: "yes", False: "NO"}[figure.met]
    value = f"{figure.value:.4g}"
    return (figure.figure, figure.subject, value, figure.unit, goal, met, figure.against)


def save(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as JSON."""
    names = ("figure", "subject", "value", "unit", "goal", "met", "against")
    records = [{name: getattr(figure, name) for name in names} for figure in figures]
    path.write_text(json.dumps(records, indent=2, ensure_ascii=False) + "\n")
