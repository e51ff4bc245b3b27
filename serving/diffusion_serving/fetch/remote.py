"""What every place that models are fetched from can do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


class InterruptedDownload(Exception):  # noqa: N818 - named after what happened
    """The connection broke, or the other side asks to come again later. Trying again may help."""


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
    """One source. May be used by several threads."""

    def files(self) -> Sequence[RemoteFile]:
        """All files there are.

        Raises:
            StartupError: they cannot be listed.

        """

    def read(self, file: RemoteFile, offset: int) -> Iterator[bytes]:
        """The content from an offset on, in pieces of at most a few MiB.

        Raises:
            DownloadFailed: it is refused or gone.
            InterruptedDownload: it broke off.

        """
