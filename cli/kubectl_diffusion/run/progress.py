"""Progress of a run, as a status tells it in one line."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.status import Status


class Line(NamedTuple):
    """A line of progress; the phase changes seldom, the text with each look."""

    phase: str
    text: str


def line_of(status: Mapping[str, Any], subject: str) -> Line:
    """The line of a LoadTest's or a Comparison's status."""
    state = str(status.get("state") or "New")
    progress = status.get("progress")
    if isinstance(progress, Mapping):
        return _of_load(progress, subject)
    if progress:
        variant = status.get("variant") or ""
        phase = f"{state} {progress} {variant}".strip()
        return Line(phase, f"{subject}: {phase}")
    message = _waits_for(status)
    return Line(f"{state} {message}", f"{subject}: {state}{f' ({message})' if message else ''}")


def _of_load(progress: Mapping[str, Any], subject: str) -> Line:
    stage = f"stage {progress.get('stage')} of {progress.get('stages')}"
    requests, failures = progress.get("requests", 0), progress.get("failures", 0)
    text = (
        f"{subject}: {stage}, {progress.get('users')} users, {requests} requests, "
        f"{failures} failed, {progress.get('elapsedSeconds')} s"
    )
    return Line(stage, text)


def _waits_for(status: Mapping[str, Any]) -> str:
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    complete = conditions.get("Complete")
    return "" if complete is None else str(complete["message"])


class Narrator:
    """The place that progress is shown in: a line that changes, or in a log a line a phase."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status
        self._phase = ""

    def __call__(self, line: Line) -> None:
        """Shows the line."""
        if self._console.is_terminal:
            self._status.update(line.text)
        elif line.phase != self._phase:
            self._console.print(line.text)
        self._phase = line.phase


Show = Callable[[Line], None]
