"""The interface of every kind of cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol


class Provider(Protocol):
    """A cluster; all methods raise LocalClusterError, and all may be called repeatedly."""

    def up(self, *, control_plane_only: bool) -> None: ...

    def down(self, *, purge: bool) -> None:
        """Removes the cluster; with `purge`, also the images kept for the next `up`."""

    def load(self, images: Sequence[str]) -> list[str]:
        """Makes images usable by pods, and returns the names for pods."""

    def kubeconfig(self) -> Path:
        """A file whose current context is the cluster."""

    def status(self) -> dict[str, Any]:
        """A JSON document with at least name, provider, state, kubeconfig, auditLog and logs."""
