"""What every kind of cluster can do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol


class Provider(Protocol):
    """All methods raise LocalClusterError; none minds being called again."""

    def up(self, *, control_plane_only: bool) -> None: ...

    def down(self, *, purge: bool) -> None:
        """`purge` also removes the images kept for the next `up`."""

    def load(self, images: Sequence[str]) -> list[str]:
        """Make images usable by pods; the names that pods refer to them by."""

    def kubeconfig(self) -> Path:
        """A file whose current context is the cluster."""

    def status(self) -> dict[str, Any]:
        """A JSON document with at least name, provider, state, kubeconfig, auditLog and logs."""
