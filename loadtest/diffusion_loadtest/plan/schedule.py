"""When how many users are at work: a pure function of the plan."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from diffusion_loadtest.plan.load_plan import Stage


class Change(NamedTuple):
    """From `at` seconds into the load there are `users` users, in the stage of that index."""

    at: float
    stage: int
    users: int


def user_changes(stages: Sequence[Stage], spawn_rate: float) -> Iterator[Change]:
    """Each moment at which a stage begins or the number of users changes, in order of time.

    Users come and go one by one, `spawn_rate` a second, the first at the stage's start. A ramp
    that its stage is too short for goes on towards the next stage's number from where it is.
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
