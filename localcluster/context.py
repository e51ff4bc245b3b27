"""An existing cluster, by the name of its kubectl context."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcluster import builders, kubeconfig, shell
from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.paths import Cache
from localcluster.references import Reference


class ContextCluster:
    """The cluster of a named context; never a guess, since changes to a wrong cluster remain."""

    def __init__(
        self, context: str, registry: str | None, kubectl: str, cache: Cache, progress: Progress
    ) -> None:
        self._context = context
        self._registry = registry
        self._kubectl = kubectl
        self._cache = cache
        self._progress = progress

    def up(self, *, control_plane_only: bool) -> None:
        """Checks that the existing cluster answers, and writes a kubeconfig with it alone."""
        del control_plane_only
        self._require_known()
        text = self._run("config", "view", "--minify", "--flatten", "--output=json")
        self.kubeconfig().parent.mkdir(parents=True, exist_ok=True)
        kubeconfig.write(self.kubeconfig(), text)
        self._run("get", "--raw=/readyz", "--request-timeout=10s")
        self._progress.say(f"using the cluster of context {self._context}")

    def down(self, *, purge: bool) -> None:
        del purge
        self.kubeconfig().unlink(missing_ok=True)
        self._progress.say(f"the cluster of context {self._context} stays: it was not created here")

    def load(self, images: Sequence[str]) -> list[str]:
        if not self._registry:
            raise LocalClusterError(
                f"The cluster of context {self._context} pulls its images from a registry: set "
                "REGISTRY=host/path, and log in to that registry."
            )
        return [self._push(image, Reference.parse(image).at(self._registry)) for image in images]

    def kubeconfig(self) -> Path:
        safe = "".join(letter if letter.isalnum() else "-" for letter in self._context)
        return self._cache.root / "contexts" / safe

    def status(self) -> dict[str, Any]:
        self._require_known()
        try:
            self._run("get", "--raw=/readyz", "--request-timeout=10s")
        except LocalClusterError:
            state = "Unreachable"
        else:
            state = "Running"
        return {
            "name": self._context,
            "provider": "context",
            "state": state,
            "kubeconfig": str(self.kubeconfig()),
            "auditLog": None,
            "logs": None,
        }

    def _require_known(self) -> None:
        known = shell.run([self._kubectl, "config", "get-contexts", "--output=name"]).split()
        if self._context not in known:
            error = f"{self._context!r} is no context" if self._context else "CONTEXT is empty"
            choice = "kubectl knows: " + ", ".join(known) if known else "kubectl knows none"
            raise LocalClusterError(f"{error}; {choice}.")

    def _push(self, image: str, target: str) -> str:
        if builders.docker_holds(image):
            shell.run(["docker", "tag", image, target])
            push = ["docker", "push", "--quiet", target]
        else:
            push = builders.buildah_push(image, target, nearby=False)
        shell.run_long(push, self._progress, f"pushing {target}")
        return target

    def _run(self, *arguments: str) -> str:
        return shell.run([self._kubectl, f"--context={self._context}", *arguments])
