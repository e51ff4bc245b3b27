"""What is timed goes ahead of the machine's other work, at both ends, where that is allowed.

Otherwise each end waits for a core now and then. The client's figures have that wait in them and
its target's record has not, so that a comparison of the two would be one of the machine.
"""

import os
from contextlib import suppress
from functools import cache

_REAL_TIME = 10
_NICE = -10


def go_ahead(thread: int = 0) -> None:
    """Put a thread of this process, or the calling one, before all others."""
    try:
        os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(_REAL_TIME))
    except PermissionError:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, _NICE)


@cache
def is_strict() -> bool:
    """Whether this user may put a thread before all others, so that little comes in between."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REAL_TIME))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def ahead() -> list[str]:
    """What to put before a command whose process is to go ahead; it runs wherever that may not."""
    if is_strict():
        return ["chrt", "--rr", str(_REAL_TIME)]
    return ["nice", "-n", str(_NICE)]
