"""CPU cores: the number that this process may use, and the priority of threads on them."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_NICENESS = 10


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Counts cores by the process's affinity and the cgroup's limit, rounded down, at least 1.

    A container sees all of the node's cores; a thread for each would only be throttled.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = _cpu_limit(cgroup)
    return max(1, int(min(allowed or 1, limit if limit is not None else float("inf"))))


def _cpu_limit(cgroup: Path) -> float | None:
    """Reads the CPU quota, in cores, from cgroup v2's or v1's files; None without a limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


def lower_priority() -> None:
    """Lowers the priority of the calling thread, and of threads it starts, below the engine's.

    Torch's threads wait for each other at the end of each operation, so one that has to pause while
    a response is written holds all of them up. Other pods' shares of the cores do not change.
    """
    os.nice(_NICENESS)
