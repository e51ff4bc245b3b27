import os
from pathlib import Path

import pytest

from localcluster import cgroups
from localcluster.errors import LocalClusterError

MOUNTS = """\
21 1 0:20 / /sys rw shared:1 - sysfs sysfs rw
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
35 30 0:31 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd
36 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
MEMBERSHIPS = """\
5:name=systemd:/user.slice
4:memory:/docker/abc/inner
3:cpu,cpuacct:/
0::/user.slice
"""


def test_version_1_hierarchies_are_found_with_the_callers_place_in_them() -> None:
    assert cgroups._version_1(MEMBERSHIPS, MOUNTS) == [
        ("name=systemd", Path("/sys/fs/cgroup/systemd/user.slice")),
        ("memory", Path("/sys/fs/cgroup/memory/inner")),
        ("cpu,cpuacct", Path("/sys/fs/cgroup/cpu,cpuacct")),
    ]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    return tmp_path


def test_version_2_is_used_at_the_root(tree: Path) -> None:
    (tree / "cgroup.controllers").write_text("cpu memory pids")
    assert cgroups.plan("mine") == [cgroups.Cgroup(2, "", tree / "mine")]


def test_a_new_cpuset_inherits_its_parents_values(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for place, value in ((tmp_path, "0-1\n"), (folder, "\n")):
        for name in ("cpuset.cpus", "cpuset.mems"):
            (place / name).write_text(value)
    cgroups.create([cgroups.Cgroup(1, "cpuset", folder)])
    assert (folder / "cpuset.cpus").read_text() == "0-1\n"


def test_every_cgroup_of_the_name_is_removed_with_its_children_and_no_other(tree: Path) -> None:
    for path in ("cpu/mine/pods/a/b", "memory/session/mine/pods", "cpu/other"):
        (tree / path).mkdir(parents=True)
    cgroups.remove("mine")
    left = {str(Path(path).relative_to(tree)) for path, _, _ in os.walk(tree)}
    assert left == {".", "cpu", "cpu/other", "memory", "memory/session"}


def test_a_cgroup_that_stays_is_an_error(tree: Path) -> None:
    (tree / "mine").mkdir()
    (tree / "mine" / "held").touch()
    with pytest.raises(LocalClusterError, match="still holds processes"):
        cgroups.remove("mine", timeout=0)
