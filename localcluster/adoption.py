"""Adoption of another cluster's images by a new cluster on this machine, as hard links.

A complete layer is never written to, so two nodes can share one copy: a second cluster neither
pulls, unpacks nor stores 7 GB again. Files that containerd does write to are copied.
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
    """Fills the cluster's empty image store from the fullest other store, and returns that store.

    The result is None if there is no image to adopt, or if another cluster keeps changing the
    store; images are then pulled as usual. If the process is killed, the store stays empty.
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
            continue  # a layer was deleted during the copy
        # Unchanged indexes match the copied layers, and are as valid as a killed containerd's.
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
    """The number of unpacked layers in an image store."""
    return len(list((store / SNAPSHOTS).glob("*")))


def _state(store: Path) -> list[tuple[int, int]]:
    stats = [(store / index).stat() for index in _INDEXES]
    return [(stat.st_mtime_ns, stat.st_size) for stat in stats]


def _copy(source: Path, target: Path) -> None:
    for file in _parts(source):
        part = file.relative_to(source)
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        links = ["--link"] if part in {SNAPSHOTS, _BLOBS} else []
        # cp keeps owners, extended attributes and the device files that mark deleted files.
        shell.run(["cp", "--archive", *links, str(file), str(target / part)])


def _parts(source: Path) -> list[Path]:
    """The folders to copy, one by one: layers apart from the rest, without unfinished downloads."""
    apart = {SNAPSHOTS.parent, _BLOBS.parent}
    return [
        part
        for top in source.iterdir()
        for part in (top.iterdir() if top.relative_to(source) in apart else [top])
        if part.relative_to(source) != _UNFINISHED
    ]
