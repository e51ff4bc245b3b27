"""A cgroup of the node's own, in version 1 and 2 of the kernel's interface."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError

_ROOT = Path("/sys/fs/cgroup")
_NEEDED = {"cpu", "memory", "pids"}


@dataclass(frozen=True)
class Cgroup:
    """One folder of one hierarchy; `options` are the mount options that give the hierarchy."""

    version: int
    options: str
    folder: Path


def plan(name: str) -> list[Cgroup]:
    """Where a cgroup called `name` belongs: below the caller's own, so that its limits hold.

    With version 2 at the root, as only there a cgroup may hold processes and share out controllers.
    Raises LocalClusterError when a needed controller is in neither version.
    """
    if (_ROOT / "cgroup.controllers").exists():
        return [Cgroup(2, "", _ROOT / name)]
    found = _version_1(
        Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    )
    lacking = _NEEDED - {controller for options, _ in found for controller in options.split(",")}
    if lacking:
        raise LocalClusterError(f"No cgroup controller here for {', '.join(sorted(lacking))}.")
    return [Cgroup(1, options, folder / name) for options, folder in found]


def _version_1(memberships: str, mounts: str) -> list[tuple[str, Path]]:
    """Pairs of mount options and the caller's folder, from the two files of /proc."""
    points: dict[frozenset[str], tuple[str, Path]] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ")[:3]
        if kind == "cgroup":
            root, point = before.split(" ")[3:5]
            points[frozenset(options.split(","))] = (root, Path(point))
    found = []
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        for given, (top, at) in points.items():
            if controllers and given.issuperset(controllers.split(",")):
                found.append((controllers, at / os.path.relpath(path, top)))
    return found


def create(cgroups: list[Cgroup]) -> None:
    """Raises LocalClusterError when the machine does not let us."""
    for cgroup in cgroups:
        try:
            cgroup.folder.mkdir(exist_ok=True)
            if "cpuset" in cgroup.options.split(","):
                _inherit_cpuset(cgroup.folder)
            if cgroup.version == 2:  # noqa: PLR2004
                _share_out(cgroup.folder.parent)
                given = set((cgroup.folder / "cgroup.controllers").read_text().split())
                if not given >= _NEEDED:
                    raise LocalClusterError(
                        f"{_ROOT} does not hand down {', '.join(sorted(_NEEDED - given))}: start a "
                        "container that this runs in with --privileged --cgroupns=host."
                    )
        except OSError as error:
            raise LocalClusterError(
                f"The cgroup {cgroup.folder} cannot be made ({error.strerror}): in a container, "
                "run it privileged."
            ) from error


def enter(folders: list[Path]) -> None:
    """Move this process, and all that it starts, into the cgroups."""
    for folder in folders:
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def settle(cgroups: list[Cgroup]) -> None:
    """With version 2, from the host: move the node's processes, `unshare` too, into a leaf.

    A cgroup that shares out controllers may hold no process itself.
    """
    for cgroup in cgroups:
        if cgroup.version == 2:  # noqa: PLR2004
            leaf = cgroup.folder / "init"
            leaf.mkdir(exist_ok=True)
            while pids := (cgroup.folder / "cgroup.procs").read_text().split():
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        (leaf / "cgroup.procs").write_text(pid)


def hand_down() -> None:
    """With version 2, inside the node: let its pods have what limits its own cgroup."""
    _share_out(_ROOT)


def _share_out(folder: Path) -> None:
    for controller in (folder / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # what is needed and missing is noticed by the caller
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(folder: Path) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (folder / name).read_text().strip():
            (folder / name).write_text((folder.parent / name).read_text())


def remove(name: str, *, timeout: float = 120.0) -> None:
    """Remove every cgroup called `name` and those in it, deepest first, wherever it was made.

    Ended processes leave theirs later: with the last one go its overlay mounts, for which the
    kernel writes the whole disk's changes out. Raises LocalClusterError after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while left := find(name):
        for folder in left:
            for path, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
        if time.monotonic() > deadline:
            raise LocalClusterError(f"The cgroup {left[0]} still holds processes.")
        if find(name):
            time.sleep(0.05)


def find(name: str) -> list[Path]:
    return [Path(path) / name for path, folders, _ in os.walk(_ROOT) if name in folders]
