"""Adoption of another cluster's images by a new cluster."""

import os
import shutil
from pathlib import Path

import pytest

from localcluster import adoption
from localcluster.adoption import SNAPSHOTS, adopt
from localcluster.errors import LocalClusterError
from localcluster.paths import Cache, ClusterPaths

META = Path("io.containerd.metadata.v1.bolt/meta.db")
INDEX = SNAPSHOTS.parent / "metadata.db"
CONTENT = Path("io.containerd.content.v1.content")
LAYER = SNAPSHOTS / "1" / "fs" / "usr" / "libtorch.so"
FILES = {
    META: "images",
    INDEX: "snapshots",
    LAYER: "torch",
    SNAPSHOTS / "2" / "fs" / "app.py": "code",
    CONTENT / "blobs" / "sha256" / "00": "manifest",
    CONTENT / "ingest" / "11" / "data": "half a layer",
    Path("io.containerd.grpc.v1.cri/containers/1/status"): "running",
}


def fill(paths: ClusterPaths, files: dict[Path, str] = FILES) -> Path:
    for name, text in files.items():
        file = paths.images / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return paths.images


@pytest.fixture
def other(cache: Cache) -> Path:
    return fill(cache.cluster("other"))


def test_layers_are_adopted_without_another_copy(paths: ClusterPaths, other: Path) -> None:
    assert adopt(paths) == other
    assert (paths.images / LAYER).samefile(other / LAYER)
    blob = CONTENT / "blobs" / "sha256" / "00"
    assert (paths.images / blob).samefile(other / blob)


def test_files_that_containerd_writes_to_are_copies(paths: ClusterPaths, other: Path) -> None:
    adopt(paths)
    for name in (META, INDEX, Path("io.containerd.grpc.v1.cri/containers/1/status")):
        assert (paths.images / name).read_text() == FILES[name]
        assert not (paths.images / name).samefile(other / name)


def test_unfinished_downloads_stay_behind(paths: ClusterPaths, other: Path) -> None:
    assert adopt(paths) == other
    assert not (paths.images / CONTENT / "ingest").exists()


def test_folders_keep_their_rights(paths: ClusterPaths, other: Path) -> None:
    (other / LAYER).parent.chmod(0o1777)
    adopt(paths)
    assert (paths.images / LAYER).parent.stat().st_mode & 0o7777 == 0o1777


def test_removing_the_new_store_leaves_the_other_complete(paths: ClusterPaths, other: Path) -> None:
    adopt(paths)
    (paths.images / LAYER).unlink()
    assert (other / LAYER).read_text() == "torch"


def test_a_cluster_with_images_keeps_them(paths: ClusterPaths, other: Path) -> None:
    fill(paths, {META: "own"})
    assert adopt(paths) is None
    assert (paths.images / META).read_text() == "own"
    assert other.exists()


def test_the_fullest_store_is_adopted(cache: Cache, paths: ClusterPaths, other: Path) -> None:
    fill(cache.cluster("small"), {META: "", INDEX: "", SNAPSHOTS / "1" / "fs" / "pause": ""})
    assert adopt(paths) == other


@pytest.mark.parametrize("missing", [META, INDEX, SNAPSHOTS])
def test_without_a_complete_store_nothing_is_adopted(
    cache: Cache, paths: ClusterPaths, missing: Path
) -> None:
    fill(
        cache.cluster("half"),
        {name: text for name, text in FILES.items() if not name.is_relative_to(missing)},
    )
    assert adopt(paths) is None
    assert not paths.images.exists()


def test_a_store_that_changed_during_the_copy_is_copied_again(
    paths: ClusterPaths, other: Path
) -> None:
    attempts: list[Path] = []

    def copy(source: Path, target: Path) -> None:
        adoption._copy(source, target)
        if not attempts:
            change(other)
        attempts.append(target)

    assert adopt(paths, copy) == other
    assert len(attempts) == 2
    assert (paths.images / INDEX).read_text() == (other / INDEX).read_text()


def test_a_store_that_changes_all_the_time_is_not_adopted(
    cache: Cache, paths: ClusterPaths, other: Path
) -> None:
    def copy(source: Path, target: Path) -> None:
        adoption._copy(source, target)
        change(other)

    assert adopt(paths, copy) is None
    assert list(cache.images.iterdir()) == [other]


def test_a_partial_store_of_a_killed_run_is_neither_used_nor_adopted(
    cache: Cache, paths: ClusterPaths, other: Path
) -> None:
    (cache.images / "demo.partial" / LAYER).parent.mkdir(parents=True)
    (cache.images / "demo.partial" / "rest").touch()
    assert adopt(paths) == other
    assert not (paths.images / "rest").exists()
    assert not (cache.images / "demo.partial").exists()


def change(store: Path) -> None:
    index = store / INDEX
    text = index.read_text()
    index.write_text(text + "+")
    stat = index.stat()
    os.utime(index, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def test_a_copy_is_repeated_if_a_layer_was_deleted_during_the_copy(
    paths: ClusterPaths, other: Path
) -> None:
    tries = iter([LocalClusterError("no such layer")])

    def copy(source: Path, target: Path) -> None:
        if error := next(tries, None):
            raise error
        shutil.copytree(source, target)

    assert adopt(paths, copy) == other
    assert (paths.images / LAYER).exists()


def test_nothing_is_adopted_if_layers_are_deleted_all_the_time(
    paths: ClusterPaths, other: Path
) -> None:
    def copy(source: Path, target: Path) -> None:
        raise LocalClusterError("no such layer")

    assert other.exists()
    assert adopt(paths, copy) is None
    assert not paths.images.exists()
