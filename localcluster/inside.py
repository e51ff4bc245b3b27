"""The node's first process: `python3 -m localcluster.inside FOLDER`.

On the host, the program enters the node's cgroup and becomes `unshare`, which runs the program
again as process 1 of the node's own namespaces. There it mounts, configures the link and supervises
the components. The end of `unshare` ends every process of the node; with the last one the kernel
removes the node's mounts and interfaces.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster import cgroups, network, shell, supervisor
from localcluster.network import Link

HOME = Path("/run/localcluster")
_NAMESPACES = ["--mount", "--cgroup", "--pid", "--net", "--uts", "--ipc"]
_FIRST = 1

# The kubelet would set these for the whole machine, so it sees copies that have the values already.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass(frozen=True)
class Plan:
    """The arguments of the node's first process.

    `binds` maps names below /run/localcluster to folders of the host; `controllers` are the mount
    options of the version 1 cgroup hierarchies, empty with version 2; `programs` maps names of
    programs to their paths inside the node.
    """

    name: str
    link: Link
    cgroups: tuple[str, ...]
    controllers: tuple[str, ...]
    binds: Mapping[str, str]
    programs: Mapping[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        value = json.loads(text)
        return cls(
            name=value["name"],
            link=Link(**value["link"]),
            cgroups=tuple(value["cgroups"]),
            controllers=tuple(value["controllers"]),
            binds=value["binds"],
            programs=value["programs"],
        )


def main(folder: Path) -> None:
    plan = Plan.from_json((folder / "node.json").read_text())
    if os.getpid() != _FIRST:
        cgroups.enter([Path(path) for path in plan.cgroups])
        again = [sys.executable, "-m", "localcluster.inside", str(folder)]
        unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child", *again]
        os.execvp("unshare", unshare)  # noqa: S606 - a list, as everywhere
    _mount(folder, plan)
    network.accept(plan.link)
    if not plan.controllers:  # the host has moved this process to a leaf before it made the link
        cgroups.hand_down()
    os.environ["PATH"] = f"{HOME / 'bin'}:{os.environ['PATH']}"
    os.environ["TMPDIR"] = str(HOME / "tmp")
    os.environ["HOME"] = str(HOME)
    supervisor.supervise(HOME / "cluster")


def _mount(folder: Path, plan: Plan) -> None:
    """Gives the node its own copy of every folder that its programs write to."""
    socket.sethostname(plan.name)
    _sh("mount", "-t", "proc", "proc", "/proc")
    for name, value in _KERNEL_SETTINGS.items():
        _show(folder / "kernel" / name, Path("/proc/sys") / name, value)
    _sh("mount", "-t", "sysfs", "sysfs", "/sys")
    _mount_cgroups(plan.controllers)
    _show(folder / "hosts", Path("/etc/hosts"), _hosts(plan))
    # The new /run is built in `stage` and moved at the end, because a bound folder may be below it.
    stage = folder / "stage"
    stage.mkdir(exist_ok=True)
    _sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(stage))
    home = stage / HOME.relative_to("/run")
    for name, source in plan.binds.items():
        (home / name).mkdir(parents=True)
        _sh("mount", "--bind", source, str(home / name))
    for name in ("bin", "tmp"):
        (home / name).mkdir()
    for name, target in plan.programs.items():
        (home / "bin" / name).symlink_to(target)
    (stage / "lock").mkdir()
    # --no-mtab, because mount writes its table below /run, which this covers.
    _sh("mount", "--no-mtab", "--move", str(stage), "/run")
    for target in ("/var/lib", "/var/log"):
        _sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", target)
    _bind(HOME / "cluster" / "kubelet", Path("/var/lib/kubelet"))
    _bind(HOME / "cluster" / "logs" / "pods", Path("/var/log/pods"))
    # As on a machine with systemd, volumes that the kubelet mounts propagate to containers.
    _sh("mount", "--make-rshared", "/")


def _mount_cgroups(controllers: tuple[str, ...]) -> None:
    if not controllers:
        _sh("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
        return
    _sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/sys/fs/cgroup")
    for options in controllers:
        point = Path("/sys/fs/cgroup") / options.removeprefix("name=")
        point.mkdir()
        named = f"none,{options}" if options.startswith("name=") else options
        _sh("mount", "-t", "cgroup", "-o", named, "cgroup", str(point))


def _hosts(plan: Plan) -> str:
    return f"127.0.0.1 localhost\n{plan.link.node} {plan.name} registry.localcluster\n"


def _show(copy: Path, target: Path, text: str) -> None:
    """Covers the file `target`, if it exists, with a file that has this text."""
    if not target.exists():
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text)
    _sh("mount", "--bind", str(copy), str(target))


def _bind(source: Path, target: Path) -> None:
    source.mkdir(parents=True, exist_ok=True)
    target.mkdir()
    _sh("mount", "--bind", str(source), str(target))


def _sh(*argv: str) -> None:
    shell.run(argv)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
