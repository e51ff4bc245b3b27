"""Mounted files of Secrets, whose content changes while the program runs."""

from pathlib import Path

Version = tuple[int, int, int]
"""Differs between two contents of a file."""


def version_of(file: Path) -> Version:
    """Returns the version of a file's content. Raises OSError.

    A mounted Secret's name is a symbolic link whose target changes.
    """
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
