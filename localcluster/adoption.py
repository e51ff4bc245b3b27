"""Giving a new cluster the images that another one on this machine has, as hard links.

Layers are never written to once they are there, so that two nodes can have one copy: 7 GB that a
second cluster neither pulls, nor unpacks, nor keeps again. What containerd does write to is copied.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from localcluster import shell
from localcluster.errors import LocalClusterError
from localcluster.paths import ClusterPaths

SNAPSHOTS = Path("io.containerd.snapshotter.v1.overlayfs/snapshots")
_BLOBS = Path("io.containerd.content.v1.content/blobs")
_UNFINISHED = Path("io.containerd.content.v1.content/ingest")
_INDEXES = (
    Path("io.containerd.metadata.v1.bolt/meta.db"),
    Path("io.containerd.snapshotter.v1.overlayfs/metadata.db"),
)
_ATTEMPTS = 3

Copy = Callable[[Path, Path], None]


def adopt(paths: ClusterPaths, copy: Copy | None = None) -> Path | None:
    """Fill the cluster's empty image store from the fullest other one; that one, if there is any.

    None where there is nothing to take, or where another cluster changes it all the time: images
    are then pulled as ever. All or nothing, whenever the process is killed.
    """
    if (paths.images / _INDEXES[0]).exists():
        return None
    source = max(_others(paths), key=layers, default=None)
    if source is None or layers(source) == 0:
        return None
    partial = paths.images.with_name(f"{paths.name}.partial")
    for _ in range(_ATTEMPTS):
        shutil.rmtree(partial, ignore_errors=True)
        before = _state(source)
        try:
            (copy or _copy)(source, partial)
        except LocalClusterError:
            continue  # a layer went meanwhile
        # Unchanged indexes are as a killed containerd would have left them, and name what is there.
        if _state(source) == before:
            shutil.rmtree(paths.images, ignore_errors=True)
            partial.rename(paths.images)
            return source
    shutil.rmtree(partial, ignore_errors=True)
    return None


def _others(paths: ClusterPaths) -> list[Path]:
    stores = paths.cache.images.glob("*")
    return [
        store
        for store in stores
        if store != paths.images
        and not store.name.endswith(".partial")
        and all((store / index).exists() for index in _INDEXES)
    ]


def layers(store: Path) -> int:
    """How many an image store holds, unpacked."""
    return len(list((store / SNAPSHOTS).glob("*")))


def _state(store: Path) -> list[tuple[int, int]]:
    found = [(store / index).stat() for index in _INDEXES]
    return [(stat.st_mtime_ns, stat.st_size) for stat in found]


def _copy(source: Path, target: Path) -> None:
    for file in _parts(source):
        part = file.relative_to(source)
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        links = ["--link"] if part in {SNAPSHOTS, _BLOBS} else []
        # cp keeps owners, extended attributes and the devices that stand for removed files.
        shell.run(["cp", "--archive", *links, str(file), str(target / part)])


def _parts(source: Path) -> list[Path]:
    """What is copied as one: layers by themselves, unfinished downloads not at all."""
    apart = {SNAPSHOTS.parent, _BLOBS.parent}
    return [
        part
        for top in source.iterdir()
        for part in (top.iterdir() if top.relative_to(source) in apart else [top])
        if part.relative_to(source) != _UNFINISHED
    ]
