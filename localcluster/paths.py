"""Paths of shared builds and images, which are kept, and of a cluster's folder, which is not."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")


@dataclass(frozen=True)
class Cache:
    """The folder that outlives clusters: built programs, pushed and pulled images."""

    root: Path

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> "Cache":
        base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        return cls(Path(base).absolute() / "diffusion-operator" / "localcluster")

    @property
    def apt_lock(self) -> Path:
        """The lock of apt-get, shared with the image build, which starts at the same time."""
        return self.root.parent / "apt.lock"

    @property
    def programs(self) -> Path:
        return self.root / "programs"

    @property
    def go(self) -> Path:
        """Go's caches for building programs; no built program reads them."""
        return self.root / "go"

    @property
    def go_lock(self) -> Path:
        """The lock of Go's caches, beside their folder.

        Builds hold it as a shared lock; the removal of the folder holds it exclusively.
        """
        return self.root / "go.lock"

    @property
    def registry(self) -> Path:
        """The images pushed for any cluster, so that the next cluster needs no push of layers."""
        return self.root / "registry"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def clusters(self) -> Path:
        return self.root / "clusters"

    def cluster(self, name: str) -> "ClusterPaths":
        """The paths of a cluster; raises LocalClusterError if `name` is no valid host name."""
        if _NAME.fullmatch(name) is None:
            raise LocalClusterError(
                f"{name!r} cannot name a cluster: use up to 30 lower-case letters, digits and "
                "dashes, with no dash at the ends."
            )
        return ClusterPaths(name, self)


@dataclass(frozen=True)
class ClusterPaths:
    name: str
    cache: Cache

    @property
    def root(self) -> Path:
        return self.cache.clusters / self.name

    @property
    def id(self) -> str:
        """Eight characters that identify this cluster's kernel objects."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def lock(self) -> Path:
        """The cluster's lock, beside its folder, which is removed while the lock is held."""
        return self.cache.clusters / f"{self.name}.lock"

    @property
    def images(self) -> Path:
        """The images that the node's containerd has unpacked; the folder outlives the cluster."""
        return self.cache.images / self.name

    @property
    def record(self) -> Path:
        return self.root / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def transit(self) -> Path:
        """Temporary copies of layers during a push to the node."""
        return self.root / "transit"

    @property
    def run(self) -> Path:
        return self.root / "run"
