"""Conditions as in the Kubernetes API conventions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffusion_operator.api.status import Condition

Status = Literal["True", "False", "Unknown"]

# The API server quotes what it refuses, however long that is.
_MESSAGE_LIMIT = 4096


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one condition; when it changed is worked out by ``conditions``."""

    type: str
    status: Status
    reason: str
    message: str


def conditions(
    verdicts: Iterable[Verdict],
    *,
    previous: Iterable[Mapping[str, Any]],
    generation: int,
    now: str,
) -> tuple[Condition, ...]:
    """The verdicts as conditions; a transition time moves only when the status does.

    A message that is far longer than a sentence is cut.
    """
    before = {found["type"]: found for found in previous}

    def since(verdict: Verdict) -> str:
        last = before.get(verdict.type)
        if last is not None and last["status"] == verdict.status:
            return str(last["lastTransitionTime"])
        return now

    return tuple(
        Condition(
            type=verdict.type,
            status=verdict.status,
            reason=verdict.reason,
            message=_cut(verdict.message),
            observed_generation=generation,
            last_transition_time=since(verdict),
        )
        for verdict in verdicts
    )


def _cut(message: str) -> str:
    return message if len(message) <= _MESSAGE_LIMIT else f"{message[: _MESSAGE_LIMIT - 1]}…"
