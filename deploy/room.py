"""Checks that the disk is large enough for a first run, and explains a lack in one line.

    python3 deploy/room.py      exit code 1 if the disk is too small

The program checks each file system that the run writes to: the cache's, the image builder's
storage, the temporary folder's and the system's own. Files that an earlier run left need no further
space. The program needs only Python, and changes nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "images")]

from image_build.buildah import known_bases  # noqa: E402 - found only with the path above
from image_build.engines import Docker  # noqa: E402 - same
from image_build.inputs import IMAGES, tag  # noqa: E402 - same
from localcluster import adoption, programs  # noqa: E402 - same
from localcluster.paths import Cache  # noqa: E402 - same

_STORAGE = Path("/var/lib/containers/storage")
_STORAGE_CONFIGURATIONS = (
    "/etc/containers/storage.conf",
    "/usr/share/containers/storage.conf",
)
_FEWEST_LAYERS = 3
"""An image of ours has at least a base, packages and code; the cluster's own two have one each."""
_GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Missing:
    """The parts that no earlier run has left behind."""

    programs: bool
    """Kubernetes, cluster DNS and Helm: built from source, with Go's caches meanwhile."""
    images: bool
    """Built images: 6 GB of torch and CUDA's libraries, once, and a little for each."""
    node: bool
    """The images on the cluster's node, and in the registry that it pulls from."""


@dataclass(frozen=True)
class Places:
    """The folders that a run writes much to; several may be on one file system."""

    cache: Path
    storage: Path
    temporary: Path
    system: Path = Path("/usr")


@dataclass(frozen=True)
class FileSystem:
    """The one that a folder is on, by its device's number."""

    device: int
    free: int
    """Bytes that may still be written."""


def needs(missing: Missing, places: Places) -> list[dict[Path, float]]:
    """Gigabytes by folder, at each of the moments that may be the fullest.

    Sums of parts as measured, each rounded up. Parts of an earlier run need no room.
    """
    go, temporary, system = (6.0, 1.0, 1.5) if missing.programs else (0.0, 0.0, 0.0)
    built, layers_on_their_way = (7.0, 8.0) if missing.images else (0.0, 0.0)
    registry, pushed, pulled = (3.5, 3.5, 9.0) if missing.node else (0.0, 0.0, 0.0)
    return [
        {
            places.cache: go + cache,
            places.storage: built,
            places.temporary: temporary,
            places.system: system,
        }
        for cache in (layers_on_their_way, registry + pushed, registry + pulled)
    ]


def too_small(
    moments: Iterable[Mapping[Path, float]], file_system: Callable[[Path], FileSystem]
) -> str | None:
    """A line about the file systems with less room than is needed; None where all have enough."""
    most: dict[int, tuple[float, Path]] = {}
    free: dict[int, float] = {}
    for moment in moments:
        now: dict[int, tuple[float, Path]] = {}
        for folder, gigabytes in moment.items():
            disk = file_system(folder)
            free[disk.device] = disk.free / _GIGABYTE
            before, first = now.get(disk.device, (0.0, folder))
            now[disk.device] = (before + gigabytes, first)
        for device, (gigabytes, folder) in now.items():
            most[device] = max(most.get(device, (0.0, folder)), (gigabytes, folder))
    short = [
        f"{gigabytes:.0f} GB of free disk for {folder} and there are {free[device]:.1f}"
        for device, (gigabytes, folder) in most.items()
        if gigabytes > free[device]
    ]
    if not short:
        return None
    return (
        f"a first run needs {', '.join(short)}: free some, "
        "or set XDG_CACHE_HOME to a folder on a larger disk"
    )


def file_system(folder: Path) -> FileSystem:
    """The file system of ``folder``, or of its nearest parent that exists."""
    while not folder.exists():
        folder = folder.parent
    there = os.statvfs(folder)
    return FileSystem(folder.stat().st_dev, there.f_bavail * there.f_frsize)


def builders_storage(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder in which buildah stores images."""
    for file in (environ.get("CONTAINERS_STORAGE_CONF", ""), *_STORAGE_CONFIGURATIONS):
        if file and Path(file).is_file():
            configured = tomllib.loads(Path(file).read_text()).get("storage", {})
            if configured.get("graphroot"):
                return Path(configured["graphroot"])
    return _STORAGE


def missing_here(cache: Cache) -> Missing:
    """The parts that this machine lacks."""
    names = _built_images()
    tags = (
        {f"localhost/{image.name}:{tag(ROOT, image, base)}" for image in IMAGES}
        for base in known_bases()
    )
    # A new cluster adopts the images of another, so one cluster that has all of them is enough.
    layers = max((adoption.layers(store) for store in cache.images.glob("*")), default=0)
    required = [programs.NODE, programs.COREDNS]
    required += [] if shutil.which("helm") else [programs.HELM]
    return Missing(
        programs=not all(programs.folder(program, cache).is_dir() for program in required),
        images=not any(names.issuperset(all_of) for all_of in tags),
        node=layers < len(IMAGES) * _FEWEST_LAYERS,
    )


def _built_images() -> set[str]:
    if shutil.which("buildah") is None:
        return set()
    listing = ["buildah", "images", "--format={{.Name}}:{{.Tag}}"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    return set(done.stdout.split())


def main() -> int:
    if os.environ.get("CONTEXT") or Docker.answers():
        return 0  # the cluster's disk, or the disk of Docker's machine, may be another one
    cache = Cache.of()
    places = Places(cache.root, builders_storage(), Path(tempfile.gettempdir()))
    line = too_small(needs(missing_here(cache), places), file_system)
    if line is not None:
        print(f"error: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
