"""Clusters of Docker containers, created by kind."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcluster import shell
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import ClusterPaths


def usable() -> bool:
    """Whether kind is installed and Docker's engine answers."""
    installed = all(shutil.which(program) is not None for program in ("kind", "docker"))
    return installed and shell.succeeds(["docker", "info"])


def create_command(name: str, kubeconfig: Path) -> list[str]:
    create = ["kind", "create", "cluster", "--name", name]
    return [*create, "--kubeconfig", str(kubeconfig), "--wait", "300s"]


def load_command(name: str, image: str) -> list[str]:
    kind = "image-archive" if Path(image).is_file() else "docker-image"
    return ["kind", "load", kind, "--name", name, image]


class KindCluster:
    def __init__(self, paths: ClusterPaths, progress: Progress) -> None:
        self._paths = paths
        self._progress = progress

    def up(self, *, control_plane_only: bool) -> None:
        """Creates the cluster; a whole one for `control_plane_only`, too: kind has no smaller."""
        del control_plane_only
        name = self._paths.name
        self._paths.root.mkdir(parents=True, exist_ok=True)
        if self._exists():
            export = ["kind", "export", "kubeconfig", "--name", name]
            shell.run([*export, "--kubeconfig", str(self.kubeconfig())])
        else:
            create = create_command(name, self.kubeconfig())
            shell.run_long(create, self._progress, f"creating kind cluster {name}")
        self._progress.say(f"cluster {name} is ready")

    def down(self, *, purge: bool) -> None:
        del purge  # kind's images are deleted with the cluster
        shell.run(["kind", "delete", "cluster", "--name", self._paths.name])
        shutil.rmtree(self._paths.root, ignore_errors=True)
        self._progress.say(f"cluster {self._paths.name} is gone")

    def load(self, images: Sequence[str]) -> list[str]:
        if not self._exists():
            raise LocalClusterError(f"There is no cluster {self._paths.name}: start it with `up`.")
        for image in images:
            command = load_command(self._paths.name, image)
            shell.run_long(command, self._progress, f"loading {image}")
        return list(images)

    def kubeconfig(self) -> Path:
        return self._paths.kubeconfig

    def status(self) -> dict[str, Any]:
        return {
            "name": self._paths.name,
            "provider": "kind",
            "state": "Running" if self._exists() else "Stopped",
            "kubeconfig": str(self.kubeconfig()),
            "auditLog": None,
            "logs": None,
        }

    def _exists(self) -> bool:
        return self._paths.name in shell.run(["kind", "get", "clusters"]).split()
