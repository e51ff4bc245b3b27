"""The reaper: kills a session's processes once this program's standard input is closed.

    python reaper.py SESSION

A server that is killed can't end the processes that it has started, and the HAProxy among them
would run on. The reaper imports nothing of this package, so that it takes little memory.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path


def members(session: int) -> list[int]:
    """Returns the processes of a session."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # pid (name) state parent group session …, and a name may hold anything.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == session:
                    pids.append(int(entry.name))
    return pids


def main(session: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    while left := members(session):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
