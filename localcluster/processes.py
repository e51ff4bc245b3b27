"""Finding and ending a cluster's processes by a mark in their environment.

The mark needs no file that could be lost or name a process of another time.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from localcluster.errors import LocalClusterError

MARK = "LOCALCLUSTER_FOLDER"
_PROC = Path("/proc")

# For a moment, while it becomes another program, a process has no environment to see.
_LOOKS = 3
_BETWEEN_LOOKS = 0.02


def mark(folder: Path) -> dict[str, str]:
    """The environment variable that processes of the cluster in `folder` are known by."""
    return {MARK: str(folder)}


def marked(folder: Path) -> list[int]:
    """Process ids with the mark of `folder`, ascending."""
    for _ in range(_LOOKS):
        found = _look(f"{MARK}={folder}".encode())
        if found:
            return found
        time.sleep(_BETWEEN_LOOKS)
    return []


def _look(wanted: bytes) -> list[int]:
    return [pid for pid in _pids() if wanted in _read(pid, "environ").split(b"\0")]


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone or a zombie."""
    return _read(pid, "cmdline").decode(errors="replace").split("\0")[:-1]


def inner_number(pid: int) -> int:
    """The process id in the innermost pid namespace that the process is in; 0 when it is gone."""
    for line in _read(pid, "status").decode(errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return 0


def end(folder: Path, *, timeout: float = 120.0) -> int:
    """Kill every process with the mark of `folder`, wait until none is left; how many there were.

    Raises LocalClusterError when some are still there after `timeout` seconds.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + timeout
    while left := marked(folder):
        seen.update(left)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LocalClusterError(f"Processes {left} of {folder} do not end after SIGKILL.")
        time.sleep(0.02)
    return len(seen)


def _pids() -> Iterator[int]:
    yield from sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""
