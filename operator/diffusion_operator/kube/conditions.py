"""Conditions per the Kubernetes API conventions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diffusion_operator.api.observed import ObservedCondition
from diffusion_operator.api.status import Condition

Status = Literal["True", "False", "Unknown"]

# The API server quotes a refused value at full length.
_MESSAGE_LIMIT = 4096


@dataclass(frozen=True)
class Verdict:
    """One condition without its transition time, which ``conditions`` works out."""

    type: str
    status: Status
    reason: str
    message: str


def conditions(
    verdicts: Iterable[Verdict],
    *,
    previous: Iterable[ObservedCondition],
    generation: int,
    now: str,
) -> tuple[Condition, ...]:
    """Conditions of the verdicts; a transition time moves only with its status.

    Long messages are truncated.
    """
    before = {each.type: each for each in previous}

    def since(verdict: Verdict) -> str:
        last = before.get(verdict.type)
        if last is not None and last.status == verdict.status:
            return last.last_transition_time or now
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


def condition_of(obj: Mapping[str, Any], kind: str) -> ObservedCondition | None:
    """Condition of that type in the object's status, or ``None``."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    condition = next((each for each in conditions if each["type"] == kind), None)
    return None if condition is None else ObservedCondition.model_validate(condition)
