"""Ends a session's processes once whoever holds this program's standard input has ended.

    python keeper.py SESSION

A server that is killed can't end what it has started, and of that the HAProxy would go on.
Imports nothing of this package, so that it takes little memory.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path


def members(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # pid (name) state parent group session …, and a name may hold anything.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == session:
                    found.append(int(entry.name))
    return found


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
