"""The resource usage of the server, all of its processes together."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import Metric

SERVER = "DIFFUSION_SERVER_PID"
"""Variable with the parent process's id, set where another process answers requests."""

_DEVICE_MEMORY = "diffusion_device_memory_bytes"
_ENERGY = "diffusion_energy_joules_total"
_BUSY = "diffusion_device_busy_seconds_total"


def usage(families: Iterable[Metric]) -> dict[str, Any]:
    """Returns memory, energy and busy time; an unknown value is null. Takes milliseconds.

    Args:
        families: the metrics of all processes.

    """
    samples = [sample for family in families for sample in family.samples]

    def total(name: str) -> float | None:
        values = [sample.value for sample in samples if sample.name == name]
        return sum(values) if values else None

    memory = total(_DEVICE_MEMORY)
    return {
        "memory_peak_bytes": memory_peak_bytes(int(os.environ.get(SERVER, os.getpid()))),
        # torch gives memory back only where it ran out of it.
        "device_memory_peak_bytes": None if memory is None else int(memory),
        # Since the model was loaded, all devices together.
        "energy_joules": total(_ENERGY),
        "device_busy_seconds": total(_BUSY),
    }


def memory_peak_bytes(root: int) -> int:
    """Returns the peak memory of a process and its descendants, each at its own time.

    Shared memory is counted in parts, by the processes that share it now.
    """
    return sum(_peak_bytes(pid) for pid in _family(root))


def _family(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    family = [root]
    for pid in family:  # which grows meanwhile
        family += children.get(pid, [])
    return family


def _parents() -> Iterator[tuple[int, int]]:
    """Yields each process of the machine and its parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # pid (name) state parent …, and a name may hold anything.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                yield int(entry.name), int(fields[1])


def _peak_bytes(pid: int) -> int:
    try:
        status = _sizes(Path(f"/proc/{pid}/status"))
        shares = _sizes(Path(f"/proc/{pid}/smaps_rollup"))
    except OSError:  # the process has ended
        return 0
    if not shares.get("Rss"):
        return 0
    return round(status["VmHWM"] * shares["Pss"] / shares["Rss"])


def _sizes(file: Path) -> dict[str, int]:
    """Returns the lines of the form `Name: 12 kB`, in bytes."""
    lines = (line.partition(":") for line in file.read_text(errors="replace").splitlines())
    return {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in lines
        if rest.rstrip().endswith(" kB")
    }
