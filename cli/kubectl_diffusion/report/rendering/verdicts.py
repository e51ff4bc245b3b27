"""Verdicts of a report: the conditions of a status, or their replacements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BAD_NEWS = frozenset({"Failed", "Regressed"})


@dataclass(frozen=True)
class Verdict:
    """A verdict: a condition with its status, reason and message."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def mood(self) -> str:
        """The colour of the verdict: good, bad or open."""
        if self.status == "Unknown":
            return "open"
        good = "False" if self.type in _BAD_NEWS else "True"
        return "good" if self.status == good else "bad"


def verdicts_of(status: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Verdict, ...]:
    """The conditions of a status that are of these kinds, in this order."""
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    return tuple(
        Verdict(
            kind,
            conditions[kind]["status"],
            conditions[kind]["reason"],
            conditions[kind]["message"],
        )
        for kind in kinds
        if kind in conditions
    )
