"""What was measured, beside what it should be."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the table; a figure without a goal is told, not judged."""

    figure: str
    subject: str
    value: float
    unit: str
    goal: float | None = None
    """The most it may be; the least where `at_least`."""
    against: str = ""
    """What the same figure is elsewhere, for comparison."""
    at_least: bool = False
    failed: bool = False
    """Whether it stands for something that could not be measured."""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def failure(figure: str, subject: str, why: str) -> Figure:
    """The line of what could not be measured."""
    return Figure(figure, subject, 0, "", goal=1, against=why, at_least=True, failed=True)


def exit_code(figures: Sequence[Figure]) -> int:
    """1 if something could not be measured; a goal that is not met is told in the table alone."""
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
