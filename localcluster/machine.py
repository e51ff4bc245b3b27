"""Requirements of a node on its machine: checks with one sentence each, and missing packages."""

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from localcluster import shell
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import Cache

_SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PLUGIN_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")
_PLUGINS = ("ptp", "host-local", "loopback", "portmap")
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Written by localcluster for the time of one apt-get.\nexit 101\n"

# The Debian package of each program.
CONTROL_PLANE_PROGRAMS = {"openssl": "openssl", "setpriv": "util-linux"}
NODE_PROGRAMS = {
    **CONTROL_PLANE_PROGRAMS,
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}


def use_system_path() -> None:
    """Adds the administrator's folders to PATH, which a user's PATH often lacks."""
    known = os.environ.get("PATH", os.defpath).split(os.pathsep)
    added = [folder for folder in _SYSTEM_PATH if folder not in known]
    os.environ["PATH"] = os.pathsep.join([*known, *added])


def require_control_plane(progress: Progress) -> None:
    """Raises LocalClusterError if a control plane cannot run on this machine."""
    _require_linux()
    _require_packages(_missing_packages(CONTROL_PLANE_PROGRAMS), progress)


def require_node(folder: Path, progress: Progress) -> None:
    """Raises LocalClusterError if a node with its files below `folder` cannot run here."""
    _require_linux()
    if os.geteuid() != 0:
        raise LocalClusterError(
            "A node needs root, for namespaces, mounts and cgroups: run this with sudo, or use "
            "--control-plane-only, which needs no root."
        )
    missing = _missing_packages(NODE_PROGRAMS)
    if plugin_folder() is None:
        missing.add("containernetworking-plugins")
    _require_packages(missing, progress)
    _require_namespaces()
    _require_overlay(folder)
    packet_filter()


def plugin_folder() -> str | None:
    """The folder with all CNI plugins; None if no folder has all of them."""
    for folder in _PLUGIN_FOLDERS:
        if all((Path(folder) / plugin).exists() for plugin in _PLUGINS):
            return folder
    return None


def packet_filter() -> str:
    """The iptables program that works with this kernel; raises LocalClusterError if none does."""
    rule = "-t nat -A POSTROUTING -m comment --comment x -m statistic --mode random"
    for program in ("iptables", "iptables-legacy"):
        try_it = [program, *rule.split(), "--probability", "0.5", "-j", "MASQUERADE"]
        if shutil.which(program) and shell.succeeds(["unshare", "--net", *try_it]):
            return program
    raise LocalClusterError(
        "This kernel has no packet filter that iptables can use (nf_tables with nft_compat, or "
        "ip_tables): Services would not work."
    )


def _require_linux() -> None:
    if sys.platform != "linux":
        raise LocalClusterError(
            "A local cluster needs Linux: install Docker and kind, which are then used instead."
        )


def _missing_packages(packages: dict[str, str]) -> set[str]:
    return {package for program, package in packages.items() if shutil.which(program) is None}


def _require_packages(missing: set[str], progress: Progress) -> None:
    if not missing:
        return
    names = " ".join(sorted(missing))
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise LocalClusterError(f"Missing on this machine (Debian's package names): {names}.")
    progress.say(f"installing {names}")
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
    install = [*apt, "install", "-y", "--no-install-recommends", *sorted(missing)]
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with _alone(Cache.of().apt_lock), _services_kept_off():
        try:
            shell.run(install, env=environment)
        except LocalClusterError:
            # The package lists may be missing or old, or an earlier installation was interrupted.
            shell.run(["dpkg", "--configure", "-a"], env=environment)
            shell.run([*apt, "update"])
            shell.run(install, env=environment)
    if shutil.which("systemctl") is not None:
        for unit in sorted(missing & {"containerd", "docker-registry"}):
            shell.succeeds(["systemctl", "disable", f"{unit}.service"])


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Locks apt-get, which itself waits for an installation but not for an update of the lists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _services_kept_off() -> Iterator[None]:
    """Keeps installed packages from starting services; an existing policy is left unchanged."""
    ours = not _POLICY.exists() or _POLICY.read_text() == _POLICY_TEXT
    if ours:
        _POLICY.write_text(_POLICY_TEXT)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)


def _require_namespaces() -> None:
    namespaces = ["--mount", "--cgroup", "--pid", "--net", "--uts", "--ipc", "--fork"]
    try:
        shell.run(["unshare", *namespaces, "true"])
    except LocalClusterError as error:
        raise LocalClusterError(
            "This machine refuses network, mount, pid or cgroup namespaces, which a node needs "
            f"(if this is a container, run it privileged): {error}"
        ) from error


def _require_overlay(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("overlay-check-*"):
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="overlay-check-", dir=folder) as scratch:
        for part in ("lower", "upper", "work", "merged"):
            (Path(scratch) / part).mkdir()
        layers = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", layers, f"{scratch}/merged"]
        if not shell.succeeds(["unshare", "--mount", *mount]):
            raise LocalClusterError(
                f"Container images need overlayfs, which does not work in {folder}: load the "
                "kernel module `overlay`, or set XDG_CACHE_HOME to a folder on ext4 or xfs."
            )
