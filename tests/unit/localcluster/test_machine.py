import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster import machine
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import Cache
from tests.unit.localcluster.conftest import Programs


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "policy-rc.d"
    monkeypatch.setattr(machine, "_POLICY", file)
    return file


def test_a_node_needs_root(
    tmp_path: Path, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LocalClusterError, match="A node needs root"):
        machine.require_node(tmp_path, progress)


def test_the_error_on_another_system_names_kind(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(LocalClusterError, match="install Docker and kind"):
        machine.require_control_plane(progress)


@pytest.mark.usefixtures("as_root")
def test_without_apt_the_missing_packages_are_named(
    progress: Progress, only_programs: Callable[..., Programs]
) -> None:
    only_programs()
    with pytest.raises(LocalClusterError, match=r"Debian's package names\): openssl util-linux"):
        machine.require_control_plane(progress)


@pytest.mark.usefixtures("as_root")
def test_packages_are_installed_with_services_kept_off_and_no_policy_left(
    progress: Progress, only_programs: Callable[..., Programs], policy: Path
) -> None:
    programs = only_programs("sh")
    programs.add("apt-get", f"[ -x {policy} ] || exit 1; ! sh {policy} || exit 2")
    machine._require_packages({"containerd", "openssl"}, progress)
    install = "install -y --no-install-recommends containerd openssl"
    assert programs.calls() == [f"apt-get -o DPkg::Lock::Timeout=300 -qq {install}"]
    assert not policy.exists()


@pytest.mark.usefixtures("as_root")
def test_an_administrators_policy_stays(
    progress: Progress, only_programs: Callable[..., Programs], policy: Path
) -> None:
    policy.write_text("#!/bin/sh\nexit 104\n")
    only_programs("sh").add("apt-get")
    machine._require_packages({"openssl"}, progress)
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"


@pytest.mark.usefixtures("as_root")
def test_a_policy_that_a_killed_run_left_is_removed(
    progress: Progress, only_programs: Callable[..., Programs], policy: Path
) -> None:
    policy.write_text(machine._POLICY_TEXT)
    only_programs("sh").add("apt-get")
    machine._require_packages({"openssl"}, progress)
    assert not policy.exists()


@pytest.mark.usefixtures("as_root")
def test_stale_package_lists_are_updated(
    progress: Progress, only_programs: Callable[..., Programs], policy: Path, tmp_path: Path
) -> None:
    programs = only_programs("sh", "touch")
    updated = tmp_path / "updated"
    programs.add(
        "apt-get",
        f'for a in "$@"; do [ "$a" = update ] && touch {updated} && exit; done; [ -e {updated} ]',
    )
    programs.add("dpkg")
    machine._require_packages({"openssl"}, progress)
    verbs = [call.split()[4] if call.startswith("apt") else call for call in programs.calls()]
    assert verbs == ["install", "dpkg --configure -a", "update", "install"]
    assert not policy.exists()


def test_refused_namespaces_are_an_error(only_programs: Callable[..., Programs]) -> None:
    only_programs("sh").add("unshare", "echo Operation not permitted >&2; exit 1")
    with pytest.raises(LocalClusterError, match=r"refuses network.*\n?.*not permitted"):
        machine._require_namespaces()


def test_missing_overlayfs_is_an_error_and_leaves_nothing(
    only_programs: Callable[..., Programs], tmp_path: Path
) -> None:
    only_programs("sh").add("unshare", "exit 1")
    folder = tmp_path / "cache"
    with pytest.raises(LocalClusterError, match=f"overlayfs, which does not work in {folder}"):
        machine._require_overlay(folder)
    assert list(folder.iterdir()) == []


def test_the_packet_filter_that_works_is_used(only_programs: Callable[..., Programs]) -> None:
    programs = only_programs("sh")
    programs.add("unshare", '[ "$2" = iptables-legacy ]')
    programs.add("iptables")
    programs.add("iptables-legacy")
    assert machine.packet_filter() == "iptables-legacy"


def test_a_missing_packet_filter_is_an_error(only_programs: Callable[..., Programs]) -> None:
    programs = only_programs("sh")
    programs.add("unshare", "exit 1")
    programs.add("iptables")
    with pytest.raises(LocalClusterError, match="Services would not work"):
        machine.packet_filter()


@pytest.mark.usefixtures("as_root", "policy")
def test_an_installation_waits_for_the_installation_of_the_image_build(
    tmp_path: Path,
    progress: Progress,
    only_programs: Callable[..., Programs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lock = Cache.of().apt_lock
    only_programs("touch").add("apt-get", f"touch {tmp_path}/installed")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        installing = threading.Thread(
            target=machine._require_packages, args=({"openssl"}, progress)
        )
        installing.start()
        wait_until_waited_for(lock)
        assert not (tmp_path / "installed").exists()
    installing.join(30)
    assert (tmp_path / "installed").exists()


def wait_until_waited_for(lock: Path) -> None:
    """Waits until the kernel lists a process that is blocked on the lock."""
    inode = f":{lock.stat().st_ino} "
    while not any(
        "->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()
    ):
        threading.Event().wait(0.01)
