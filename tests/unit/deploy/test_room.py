"""The check of the disk's free space, and its message."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import room
from image_build.buildah import known_bases
from image_build.engines import Docker
from image_build.inputs import IMAGES, tag
from localcluster import programs
from localcluster.adoption import SNAPSHOTS
from localcluster.paths import Cache
from room import FileSystem, Missing, Places, builders_storage, needs, too_small

ROOT = Path(__file__).resolve().parents[3]
PLACES = Places(Path("/home/cache"), Path("/var/storage"), Path("/tmp"), Path("/usr"))  # noqa: S108 - none is written to
EVERYTHING = Missing(programs=True, images=True, node=True)
NOTHING = Missing(programs=False, images=False, node=False)


def disks(**gigabytes: float) -> Callable[[Path], FileSystem]:
    """A file system for each first part of a path that is named; the rest are on `rest`."""

    def of(folder: Path) -> FileSystem:
        name = folder.parts[1]
        device = name if name in gigabytes else "rest"
        return FileSystem(list(gigabytes).index(device), int(gigabytes[device] * 1e9))

    return of


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the question to the machine's own builder, which may be busy."""
    monkeypatch.setattr(room, "_built_images", set)


@pytest.mark.parametrize("free", [0, 10, 25])
def test_a_first_run_on_a_small_disk_is_refused_in_one_line(free: float) -> None:
    line = too_small(needs(EVERYTHING, PLACES), disks(rest=free))
    assert line is not None
    assert "\n" not in line
    assert f"there are {free:.1f}" in line


def test_a_first_run_fits_in_thirty_gigabytes() -> None:
    assert too_small(needs(EVERYTHING, PLACES), disks(rest=30)) is None


def test_what_is_there_from_an_earlier_run_needs_no_room() -> None:
    assert too_small(needs(NOTHING, PLACES), disks(rest=0)) is None


@pytest.mark.parametrize("left", ["programs", "images", "node"])
def test_each_part_that_is_there_already_makes_the_need_smaller(left: str) -> None:
    def needed(missing: Missing) -> float:
        return max(sum(moment.values()) for moment in needs(missing, PLACES))

    fewer = Missing(**{"programs": True, "images": True, "node": True, left: False})
    assert 0 < needed(fewer) < needed(EVERYTHING)


def test_each_file_system_is_asked_for_its_own_part() -> None:
    moments = needs(EVERYTHING, PLACES)
    assert too_small(moments, disks(var=8, home=19, rest=5)) is None
    line = too_small(moments, disks(var=2, home=19, rest=5))
    assert line is not None
    assert "/var/storage" in line
    assert "/home/cache" not in line


def test_every_file_system_that_is_too_small_is_named_in_the_line() -> None:
    line = too_small(needs(EVERYTHING, PLACES), disks(var=2, home=3, rest=5))
    assert line is not None
    assert "\n" not in line
    assert "/var/storage and there are 2.0" in line
    assert "/home/cache and there are 3.0" in line


def test_a_folder_that_is_not_there_yet_is_on_its_parents_file_system(tmp_path: Path) -> None:
    there, absent = room.file_system(tmp_path), room.file_system(tmp_path / "not" / "yet")
    assert absent.device == there.device == tmp_path.stat().st_dev
    assert not (tmp_path / "not").exists()


def test_the_builders_storage_is_where_its_configuration_puts_it(tmp_path: Path) -> None:
    file = tmp_path / "storage.conf"
    file.write_text('[storage]\ndriver = "overlay"\ngraphroot = "/mnt/images"\n')
    assert builders_storage({"CONTAINERS_STORAGE_CONF": str(file)}) == Path("/mnt/images")


def test_programs_count_as_there_when_each_was_built(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for program in (programs.NODE, programs.COREDNS):
        programs.folder(program, cache).mkdir(parents=True)
    assert room.missing_here(cache).programs
    programs.folder(programs.HELM, cache).mkdir()
    assert not room.missing_here(cache).programs


def test_images_on_the_node_count_as_there(cache: Cache) -> None:
    snapshots = cache.cluster("demo").images / SNAPSHOTS
    assert room.missing_here(cache).node
    for number in range(2):  # the cluster's own
        (snapshots / str(number)).mkdir(parents=True)
    assert room.missing_here(cache).node
    for number in range(2, 20):
        (snapshots / str(number)).mkdir()
    assert not room.missing_here(cache).node


def test_the_images_count_as_there_when_the_builder_has_each(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {
        f"localhost/{image.name}:{tag(ROOT, image, base)}"
        for image in IMAGES
        for base in known_bases()
    }
    monkeypatch.setattr(room, "_built_images", lambda: every)
    assert not room.missing_here(cache).images
    monkeypatch.setattr(room, "_built_images", lambda: set(sorted(every)[2:]))
    assert room.missing_here(cache).images


@pytest.mark.parametrize("elsewhere", ["a context", "Docker"])
def test_a_disk_that_is_not_this_machines_own_is_not_judged(
    elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "too_small", lambda *_: "too small")
    monkeypatch.setattr(Docker, "answers", lambda: False)
    monkeypatch.delenv("CONTEXT", raising=False)
    assert room.main() == 1
    if elsewhere == "Docker":
        monkeypatch.setattr(Docker, "answers", lambda: True)
    else:
        monkeypatch.setenv("CONTEXT", "gke")
    assert room.main() == 0


def test_the_command_says_one_line_and_writes_nothing(tmp_path: Path) -> None:
    """Runs on this machine's own disks, none of which has a thousand terabytes free."""
    program = "import sys, room; room._GIGABYTE = 10**18; sys.exit(room.main())"
    environ = {
        "PATH": "/nonexistent",
        "PYTHONPATH": str(ROOT / "deploy"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: a first run needs ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache.of({"XDG_CACHE_HOME": str(tmp_path / "cache")})
