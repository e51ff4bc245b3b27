"""The interface of a remote source of models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


class InterruptedDownload(Exception):  # noqa: N818 - named after what happened
    """The connection broke, or the other side is overloaded; a retry may help.

    `after` has the seconds that the other side asks to wait before it.
    """

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that can be fetched.

    `path` is relative to the source, `size` in bytes. `version` differs when the content does.
    `sha256` is that of the content in hexadecimal digits, where the other side knows it.
    """

    path: str
    size: int
    version: str
    sha256: str | None = None


class Remote(Protocol):
    """A remote source, which several threads may use."""

    def files(self) -> Sequence[RemoteFile]:
        """Lists all files.

        Raises:
            StartupError: the files cannot be listed.
            InterruptedDownload: the listing broke off.

        """

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """Yields the content from an offset on, in pieces of at most a few MiB.

        Raises:
            DownloadFailed: the file is refused or gone.
            InterruptedDownload: the download broke off.

        """
