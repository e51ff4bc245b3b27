"""The schedule of users over time, as a pure function of the plan."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from diffusion_loadtest.plan.load_plan import Stage

SETTLE_SHARE = 0.2
"""The share of a load's time for which the load settles before the measurement."""
MAX_SETTLE_SECONDS = 15.0


class Change(NamedTuple):
    """A change to `users` users at `at` seconds into the load, in the stage of that index."""

    at: float
    stage: int
    users: int


def user_changes(stages: Sequence[Stage], spawn_rate: float) -> Iterator[Change]:
    """Yields each moment at which a stage begins or the number of users changes, in order.

    Users start and stop one by one, `spawn_rate` a second, the first at the stage's start. A ramp
    that is longer than its stage continues from its current number towards the next stage's.
    """
    begin, users = 0.0, 0
    for index, stage in enumerate(stages):
        missing = stage.users - users
        step = 1 if missing > 0 else -1
        if missing == 0:
            yield Change(begin, index, users)
        for number in range(abs(missing)):
            delay = number / spawn_rate
            if delay >= stage.duration_seconds:
                break
            users += step
            yield Change(begin + delay, index, users)
        begin += stage.duration_seconds


def settle_seconds(seconds: float) -> float:
    """The time for which a load of `seconds` settles before the measurement."""
    return min(seconds * SETTLE_SHARE, MAX_SETTLE_SECONDS)
