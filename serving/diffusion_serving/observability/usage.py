"""What the server has used of its machine, all of its processes together."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import Metric

SERVER = "DIFFUSION_SERVER_PID"
"""Set where the process that answers isn't the one that started the others."""

_DEVICE_MEMORY = "diffusion_device_memory_bytes"
_ENERGY = "diffusion_energy_joules_total"
_BUSY = "diffusion_device_busy_seconds_total"


def usage(families: Iterable[Metric]) -> dict[str, Any]:
    """What is known of memory, energy and use; what isn't is null. Takes milliseconds.

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
        # torch gives back what it once took only where it ran out of it.
        "device_memory_peak_bytes": None if memory is None else int(memory),
        # Since the model was loaded, all devices together.
        "energy_joules": total(_ENERGY),
        "device_busy_seconds": total(_BUSY),
    }


def memory_peak_bytes(root: int) -> int:
    """The most that a process and all that come from it held, each at its own time.

    What processes share is counted in parts, as they share it now.
    """
    return sum(_peak_bytes(pid) for pid in _family(root))


def _family(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = [root]
    for pid in found:  # which grows meanwhile
        found += children.get(pid, [])
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Each process of the machine and its parent."""
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
    except OSError:  # it has ended
        return 0
    if not shares.get("Rss"):
        return 0
    return round(status["VmHWM"] * shares["Pss"] / shares["Rss"])


def _sizes(file: Path) -> dict[str, int]:
    """The lines of the form `Name: 12 kB`, in bytes."""
    lines = (line.partition(":") for line in file.read_text(errors="replace").splitlines())
    return {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in lines
        if rest.rstrip().endswith(" kB")
    }
