"""The record of a local cluster, which one command leaves for the next."""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from localcluster.console import Progress
from localcluster.paths import ClusterPaths

Mode = Literal["node", "control-plane"]


@dataclass(frozen=True)
class Record:
    """A cluster's record; `server` is the API server's URL, `address` the node's on its link."""

    mode: Mode
    server: str
    kubernetes: str
    programs: str
    address: str | None = None
    ready: bool = False

    def save(self, paths: ClusterPaths) -> None:
        """Writes the record atomically, so that a kill leaves no part of it."""
        partial = paths.record.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n")
        partial.rename(paths.record)

    @classmethod
    def load(cls, paths: ClusterPaths) -> "Record | None":
        """Reads the record; None without a cluster, or if its creation ended before the record."""
        try:
            return cls(**json.loads(paths.record.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


@contextlib.contextmanager
def locked(paths: ClusterPaths, progress: Progress) -> Iterator[None]:
    """Holds the cluster's lock, which the kernel releases if the command is killed."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"waiting for another command on cluster {paths.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
