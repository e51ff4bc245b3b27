"""What is remembered of a local cluster between two commands."""

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
    """`server` is the API server's URL, `address` the node's on its link to the host."""

    mode: Mode
    server: str
    kubernetes: str
    programs: str
    address: str | None = None
    ready: bool = False

    def save(self, paths: ClusterPaths) -> None:
        """All or nothing, whenever the process is killed."""
        partial = paths.record.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n")
        partial.rename(paths.record)

    @classmethod
    def load(cls, paths: ClusterPaths) -> "Record | None":
        """None when there is no cluster, or one whose making did not come this far."""
        try:
            return cls(**json.loads(paths.record.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None


@contextlib.contextmanager
def locked(paths: ClusterPaths, progress: Progress) -> Iterator[None]:
    """One command at a time per cluster; the kernel frees the lock of a killed one."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"waiting for another command on cluster {paths.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
