"""Search and end of a cluster's processes, by a mark in their environment.

A file with process ids could be lost, or name a later process; the mark can not.
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

# While a process becomes another program, its environment is not readable for a moment.
_LOOKS = 3
_BETWEEN_LOOKS = 0.02


def mark(folder: Path) -> dict[str, str]:
    """The environment variable that marks processes of the cluster in `folder`."""
    return {MARK: str(folder)}


def marked(folder: Path) -> list[int]:
    """Process ids with the mark of `folder`, ascending."""
    for _ in range(_LOOKS):
        pids = _pids_with(f"{MARK}={folder}".encode())
        if pids:
            return pids
        time.sleep(_BETWEEN_LOOKS)
    return []


def _pids_with(variable: bytes) -> list[int]:
    return [pid for pid in _pids() if variable in _read(pid, "environ").split(b"\0")]


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty if the process has ended."""
    return _read(pid, "cmdline").decode(errors="replace").split("\0")[:-1]


def inner_number(pid: int) -> int:
    """The process id in the process's innermost pid namespace; 0 if the process has ended."""
    for line in _read(pid, "status").decode(errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return 0


def end(folder: Path, *, timeout: float = 120.0) -> int:
    """Kills every process with the mark of `folder`, waits for their end, and returns their number.

    Raises:
        LocalClusterError: Some processes still exist after `timeout` seconds.
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
