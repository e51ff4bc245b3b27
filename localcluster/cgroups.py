"""The node's own cgroup, in version 1 and 2 of the kernel's interface."""

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
    """One folder of one hierarchy; `options` are the mount options that select the hierarchy."""

    version: int
    options: str
    folder: Path


def plan(name: str) -> list[Cgroup]:
    """The cgroups to create with `name`: below the caller's own, so that its limits apply.

    With version 2 the cgroup is below the root, because only the root may both hold processes and
    distribute controllers.

    Raises:
        LocalClusterError: A required controller is in neither version.
    """
    if (_ROOT / "cgroup.controllers").exists():
        return [Cgroup(2, "", _ROOT / name)]
    parents = _version_1(
        Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    )
    lacking = _NEEDED - {controller for options, _ in parents for controller in options.split(",")}
    if lacking:
        raise LocalClusterError(
            f"This machine has no cgroup controller for {', '.join(sorted(lacking))}."
        )
    return [Cgroup(1, options, folder / name) for options, folder in parents]


def _version_1(memberships: str, mounts: str) -> list[tuple[str, Path]]:
    """Pairs of mount options and the caller's folder, from the two files of /proc."""
    points: dict[frozenset[str], tuple[str, Path]] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ")[:3]
        if kind == "cgroup":
            root, point = before.split(" ")[3:5]
            points[frozenset(options.split(","))] = (root, Path(point))
    parents = []
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        for given, (top, at) in points.items():
            if controllers and given.issuperset(controllers.split(",")):
                parents.append((controllers, at / os.path.relpath(path, top)))
    return parents


def create(cgroups: list[Cgroup]) -> None:
    """Creates the cgroups; raises LocalClusterError if the machine refuses."""
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
                        f"{_ROOT} does not delegate {', '.join(sorted(_NEEDED - given))}: start "
                        "this container with --privileged --cgroupns=host."
                    )
        except OSError as error:
            raise LocalClusterError(
                f"The cgroup {cgroup.folder} cannot be created ({error.strerror}): if this is a "
                "container, run it privileged."
            ) from error


def enter(folders: list[Path]) -> None:
    """Moves this process, and all its later children, into the cgroups."""
    for folder in folders:
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def settle(cgroups: list[Cgroup]) -> None:
    """Moves the node's processes, including `unshare`, into a leaf; from the host, for version 2.

    A cgroup that distributes controllers may hold no process itself.
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
    """Delegates the node's controllers to its pods; inside the node, for version 2."""
    _share_out(_ROOT)


def _share_out(folder: Path) -> None:
    for controller in (folder / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # the caller checks the required controllers
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(folder: Path) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (folder / name).read_text().strip():
            (folder / name).write_text((folder.parent / name).read_text())


def remove(name: str, *, timeout: float = 120.0) -> None:
    """Removes every cgroup called `name`, in any hierarchy, and those in it, deepest first.

    A cgroup can be removed some time after its processes ended: with the last one the kernel
    removes its overlay mounts, for which it writes out the whole disk's changes.

    Raises:
        LocalClusterError: A cgroup still exists after `timeout` seconds.
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
