"""Stores files in a directory that several processes may fill at once.

A lock beside the directory lets one of them download; the kernel, or the NFS server, releases it
when its holder dies. Only bandwidth depends on the lock: where a volume has no locks, two processes
write the same bytes to the same places of the same files.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from diffusion_serving.fetch.remote import InterruptedDownload, Remote, RemoteFile
from diffusion_serving.observability.startup_errors import DownloadFailed

log = logging.getLogger("diffusion_serving")

BLOCK = 8 * 1024 * 1024
"""Bytes after which a file is flushed to the disk, and from a multiple of which it is resumed."""

PROGRESS_SECONDS = 10.0
LOCK_POLL_SECONDS = 0.5

_MANIFEST = ".fetched.json"
_PART = ".part"
_SIDE_BY_SIDE = 4
_RETRIES = 5
"""Times in a row that a file's download may break off without a byte of progress."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def lock_beside(target: Path) -> Iterator[None]:
    """Holds the lock of a target; waits while another process holds it."""
    with _opened(target.with_name(f"{target.name}.lock")) as file:
        _acquire(file, target)
        yield


def _opened(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        raise cannot_store(error, path.parent) from None


def _acquire(file: BinaryIO, target: Path) -> None:
    logged = 0.0
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                log.warning("the volume has no locks: others may download the same at once")
                return
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise cannot_store(error, target.parent) from None
        else:
            return
        if time.monotonic() - logged >= PROGRESS_SECONDS:
            logged = time.monotonic()
            log.info("waiting for another process that fetches the same")
        time.sleep(LOCK_POLL_SECONDS)


def fill(
    remote: Remote, files: Sequence[RemoteFile], target: Path, check: Callable[[Path], None]
) -> None:
    """Downloads the files into the target, which appears when all are there and pass `check`.

    An earlier attempt, in a directory beside the target, is resumed.

    Raises:
        DownloadFailed: a file cannot be fetched, or there is no room for it.
        StartupError: the one that `check` raises.

    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        _prepare(partial, files)
        _need_room(partial, files)
        _download_all(remote, files, partial)
        check(partial)
        _synced(partial)
        partial.rename(target)
        _synced(target.parent)
    except OSError as error:
        if target.exists():  # another process was here first
            return
        raise cannot_store(error, target.parent) from None


def _prepare(partial: Path, files: Sequence[RemoteFile]) -> None:
    """Creates the directory, and removes files of other versions from it."""
    for file in files:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise DownloadFailed(f"The source has a file {file.path!r} outside of itself.")
    partial.mkdir(parents=True, exist_ok=True)
    manifest = partial / _MANIFEST
    versions = {file.path: file.version for file in files}
    for path in _outdated(_read_manifest(manifest), versions):
        for name in (path, path + _PART):
            (partial / name).unlink(missing_ok=True)
    fresh = manifest.with_name(f"{_MANIFEST}{_PART}")
    fresh.write_text(json.dumps(versions, indent=1), encoding="utf-8")
    fresh.rename(manifest)


def _read_manifest(file: Path) -> Mapping[str, str]:
    """Reads the versions by path of an earlier attempt; empty if there was none."""
    try:
        versions = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return versions if isinstance(versions, dict) else {}


def _outdated(earlier: Mapping[str, str], versions: Mapping[str, str]) -> list[str]:
    return [path for path, version in earlier.items() if versions.get(path) != version]


def _present(folder: Path, file: RemoteFile) -> int:
    """Returns the bytes of a file that need not be downloaded."""
    if (folder / file.path).exists():
        return file.size
    part = folder / (file.path + _PART)
    size = part.stat().st_size if part.exists() else 0
    # A power loss may have kept the last blocks from the disk.
    return max(0, size // BLOCK - 1) * BLOCK


def _need_room(partial: Path, files: Sequence[RemoteFile]) -> None:
    missing = sum(file.size for file in files) - sum(_present(partial, file) for file in files)
    free = shutil.disk_usage(partial).free
    if missing > free:
        raise DownloadFailed(
            f"The disk is too full: {_size(missing)} are to be downloaded, {_size(free)} are free "
            f"on {partial.parent}. Give the cache a larger volume (model.cache.size), or make room."
        )


def cannot_store(error: OSError, folder: Path) -> DownloadFailed:
    """Returns the refusal for a directory that is full or cannot be written."""
    if error.errno in _FULL:
        free = _size(shutil.disk_usage(folder).free)
        return DownloadFailed(
            f"The disk got full, with {free} free on {folder}. Give the cache a larger volume "
            "(model.cache.size), or make room."
        )
    return DownloadFailed(
        f"{folder} cannot be written ({error.strerror}). Check that the volume is mounted there, "
        "not read-only, and writable for the pod's user or fsGroup."
    )


class _Progress:
    """The progress of a download, for several threads."""

    def __init__(self, total: int, done: int) -> None:
        self.stop = threading.Event()
        self._total = total
        self._done = done
        self._begin = time.monotonic()
        self._first = done
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count

    def report(self) -> None:
        seconds = max(time.monotonic() - self._begin, 0.001)
        log.info(
            "downloading",
            extra={
                "done": _size(self._done),
                "of": _size(self._total),
                "percent": round(100 * self._done / max(self._total, 1)),
                "per_second": _size(int((self._done - self._first) / seconds)),
            },
        )


def _download_all(remote: Remote, files: Sequence[RemoteFile], folder: Path) -> None:
    done = sum(_present(folder, file) for file in files)
    progress = _Progress(sum(file.size for file in files), done)
    progress.report()
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="fetch") as threads:
        waiting: set[Future[None]] = {
            threads.submit(_download, remote, file, folder, progress) for file in files
        }
        try:
            while waiting:
                ended, waiting = wait(waiting, PROGRESS_SECONDS, FIRST_EXCEPTION)
                for future in ended:
                    future.result()
                progress.report()
        finally:
            progress.stop.set()
            threads.shutdown(wait=True, cancel_futures=True)


def _download(remote: Remote, file: RemoteFile, folder: Path, progress: _Progress) -> None:
    """Downloads a file, from the end of an earlier attempt."""
    final = folder / file.path
    if final.exists():
        return
    part = folder / (file.path + _PART)
    part.parent.mkdir(parents=True, exist_ok=True)
    offset = _present(folder, file)
    # Neither truncated nor appended to: another process may be writing the same, see above.
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as out:
        out.seek(offset)
        for piece in pieces(remote, file, offset, progress.stop.wait):
            _write(piece, out)
            progress.add(len(piece))
            if progress.stop.is_set():
                return
        _to_disk(out)
        _verify(file, out, part)
    try:
        part.rename(final)
    except FileNotFoundError:
        if not final.exists():
            raise


def pieces(
    remote: Remote,
    file: RemoteFile,
    offset: int = 0,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[bytes]:
    """Yields the content of a file from an offset on; resumes where the download breaks off.

    Raises:
        DownloadFailed: the download breaks off again and again.

    """
    fruitless = 0
    while offset < file.size:
        begin, why, after = offset, f"{file.path} ended early.", 0.0
        try:
            for piece in remote.read(file, offset):
                offset += len(piece)
                yield piece
        except InterruptedDownload as broken:
            why, after = str(broken), broken.after
        if offset >= file.size:
            return
        fruitless = fruitless + 1 if offset == begin else 0
        if fruitless > _RETRIES:
            raise DownloadFailed(f"{why} It was tried {fruitless} times.")
        log.warning("a download broke off", extra={"file": file.path, "at": offset})
        pause(max(2.0**fruitless / 4, after))


def _write(piece: bytes, out: BinaryIO) -> None:
    """Writes a piece, and flushes it to the disk whenever a block is full."""
    before = out.tell() // BLOCK
    out.write(piece)
    if out.tell() // BLOCK > before:
        _to_disk(out)


def _to_disk(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


def _verify(file: RemoteFile, out: BinaryIO, part: Path) -> None:
    """Compares length and checksum; removes a wrong file, so that it is fetched again."""
    right = out.tell() == file.size
    if right and file.sha256 is not None:
        with part.open("rb") as content:
            right = hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    if not right:
        part.unlink(missing_ok=True)
        raise DownloadFailed(
            f"{file.path} arrived damaged: its length or checksum is not the one that the source "
            "lists. The next start fetches the file again."
        )


def _synced(folder: Path) -> None:
    """Flushes a directory to the disk, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _size(count: int) -> str:
    """Formats bytes for people, such as `3.4 GiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - the factor between the units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
