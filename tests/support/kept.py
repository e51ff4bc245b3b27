"""Folders that are slow to make, and are therefore kept between runs."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

from terraform_offline.paths import KEPT, content_hash


def kept(name: str, make: Callable[[Path], None], *parts: bytes) -> Path:
    """The folder that ``make`` fills once for each content of the parts.

    Several processes may call this at once: one makes the folder, the others wait.
    """
    folder = KEPT / f"{name}-{content_hash(*parts)}"
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not folder.is_dir():
            partial = folder.with_name(f"{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder
