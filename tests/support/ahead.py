"""Scheduling priority for timed processes, the client and its target, where the user may set it.

Without the priority each of them waits for a core now and then. The client's figures include that
wait and its target's records don't, so that a comparison of the two would measure the machine.
"""

import os
from contextlib import suppress
from functools import cache

_REAL_TIME = 10
_NICE = -10


def go_ahead(thread: int = 0) -> None:
    """Gives a thread of this process, by default the calling one, priority over all others."""
    try:
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(_REAL_TIME))
    except PermissionError:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, _NICE)


@cache
def is_strict() -> bool:
    """Whether this user may set a real-time priority, so that little else delays a thread."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REAL_TIME))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def ahead() -> list[str]:
    """The prefix of a command that raises its priority; the command runs without the right, too."""
    if is_strict():
        return ["chrt", "--rr", str(_REAL_TIME)]
    return ["nice", "-n", str(_NICE)]
