"""Verdicts of a report: the conditions of a status, or what stands in for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One condition: whether it holds, why, in a word and in a sentence."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def mood(self) -> str:
        """good, bad or open: how it is coloured."""
        if self.status == "Unknown":
            return "open"
        wanted = "False" if self.type == "Failed" else "True"
        return "good" if self.status == wanted else "bad"


def verdicts_of(status: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Verdict, ...]:
    """Those conditions of a status, in that order, that are there."""
    said = {each["type"]: each for each in status.get("conditions") or ()}
    return tuple(
        Verdict(kind, said[kind]["status"], said[kind]["reason"], said[kind]["message"])
        for kind in kinds
        if kind in said
    )
