"""States of a LoadTest, a Comparison and one repetition of a variant."""

from enum import StrEnum
from typing import Annotated

from pydantic import WithJsonSchema


class RunState(StrEnum):
    """State of a run; a value of another version reads as ``UNKNOWN``."""

    UNKNOWN = ""
    WAITING = "Waiting"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    STARTING = "Starting"
    TESTING = "Testing"
    RUNNING = "Running"
    COOLING = "Cooling"
    COMPLETE = "Complete"
    FAILED = "Failed"

    @classmethod
    def _missing_(cls, _: object) -> "RunState":
        return cls.UNKNOWN

    @property
    def is_final(self) -> bool:
        """Whether the run has ended, well or badly."""
        return self in _FINAL

    @property
    def is_active(self) -> bool:
        """Whether the run has begun and not ended, so that it uses its target or hardware."""
        return self in _ACTIVE

    @property
    def holds_turn(self) -> bool:
        """Whether the run keeps its place in admission: active, or queued."""
        return self.is_active or self is RunState.QUEUED

    @property
    def is_before_load(self) -> bool:
        """Whether the load has yet to begin."""
        return self in _BEFORE_LOAD


_FINAL = frozenset({RunState.COMPLETE, RunState.FAILED})
_ACTIVE = frozenset({RunState.STARTING, RunState.TESTING, RunState.RUNNING, RunState.COOLING})
_BEFORE_LOAD = frozenset({RunState.WAITING, RunState.QUEUED, RunState.SUSPENDED, RunState.STARTING})

State = Annotated[RunState, WithJsonSchema({"maxLength": 32, "type": "string"})]
"""A state as a field; its schema takes any string, so that a newer operator may add one."""
