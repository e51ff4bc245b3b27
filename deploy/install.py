"""Installs the operator on a cluster: provides its images to the cluster, and installs its chart.

    python3 deploy/install.py                         the local cluster, created if it is missing
    CONTEXT=gke-team REGISTRY=europe-docker.pkg.dev/p/r python3 deploy/install.py

A step that is already done is skipped. The program needs only Python, and names any other program
that is missing. The result, as JSON, goes to stdout; progress goes to stderr.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commands import Commands, InstallError, ended_by_sigterm, say

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "diffusion-system"
RELEASE = "diffusion-operator"


@dataclass(frozen=True)
class Installed:
    """The files and names by which a client uses the cluster and its operator."""

    kubeconfig: str
    """A file whose current context is the cluster."""
    kubectl: str
    helm: str
    namespace: str = NAMESPACE
    release: str = RELEASE

    def kubectl_command(self) -> list[str]:
        return [self.kubectl, f"--kubeconfig={self.kubeconfig}"]


def install(name: str, *values: str) -> Installed:
    """Installs the operator on the local cluster ``name``, or on ``CONTEXT``.

    Args:
        name: The local cluster's name.
        values: Values of the chart, as ``helm --set`` takes them.

    Raises:
        InstallError: A step failed.
    """
    # The pool waits for its threads. A thread ends with its command, and the failure of one command
    # ends the others.
    with ThreadPoolExecutor(3) as pool, Commands(ROOT) as commands:
        return _Installation(name, commands, pool, values).run()


class _Installation:
    """The steps, of which those that compute and those that download run in parallel.

    Kubernetes compiles while images download, and Helm while the cluster pulls images.
    """

    def __init__(
        self, name: str, commands: Commands, pool: ThreadPoolExecutor, values: Sequence[str]
    ) -> None:
        self._name = name
        self._values = values
        self._commands = commands
        self._pool = pool

    def run(self) -> Installed:
        say("cluster and images, in parallel")
        cluster = self._pool.submit(self._start_cluster)
        images = self._pool.submit(self._build_images)
        _ends_of(cluster, images)
        tools = self._pool.submit(self._tools)
        loaded = self._pool.submit(self._load, images.result())
        _ends_of(tools, loaded)
        kubectl, helm = tools.result()
        installed = Installed(cluster.result(), kubectl, helm)
        say("operator")
        command = _helm(installed, loaded.result(), self._values)
        self._commands.output("operator", command, "installing the chart")
        return installed

    def _start_cluster(self) -> str:
        self._localcluster("adopt", "--name", self._name, what="sharing images")
        self._localcluster("up", "--name", self._name, what="starting the cluster")
        return self._localcluster("kubeconfig", "--name", self._name, what="finding the cluster")

    def _tools(self) -> tuple[str, str]:
        kubectl, helm = (
            self._localcluster("tool", tool, what=f"finding {tool}") for tool in ("kubectl", "helm")
        )
        self._localcluster("tidy", what="tidying up")
        return kubectl, helm

    def _build_images(self) -> dict[str, str]:
        command = [sys.executable, "images/build.py", "--json"]
        names: dict[str, str] = json.loads(
            self._commands.output("images", command, "building the images")
        )
        return names

    def _load(self, images: dict[str, str]) -> dict[str, str]:
        """Loads the images, and returns the names by which pods refer to them."""
        arguments = ("load", "--name", self._name, *images.values())
        names = self._localcluster(*arguments, what="loading the images", subject="images")
        return dict(zip(images, names.splitlines(), strict=True))

    def _localcluster(self, *arguments: str, what: str, subject: str = "cluster") -> str:
        # localcluster reads CONTEXT and REGISTRY itself.
        command = [sys.executable, "-m", "localcluster", *arguments]
        return self._commands.output(subject, command, what).strip()


def _ends_of(*steps: Future[Any]) -> None:
    """Waits for all steps, or for the first that fails, and raises its error."""
    for step in wait(steps, return_when=FIRST_EXCEPTION).done:
        step.result()


def _helm(installed: Installed, images: dict[str, str], values: Sequence[str]) -> list[str]:
    references = {
        "images.operator": images["operator"],
        "images.loadtest": images["loadtest"],
        **{
            f"images.backends.{backend}": image
            for backend, image in images.items()
            if backend not in {"operator", "loadtest"}
        },
    }
    return [
        installed.helm,
        f"--kubeconfig={installed.kubeconfig}",
        "upgrade",
        "--install",
        RELEASE,
        "deploy/chart",
        f"--namespace={NAMESPACE}",
        "--create-namespace",
        "--wait",
        "--timeout=10m",
        *(f"--set-string={name}={image}" for name, image in references.items()),
        *(f"--set={value}" for value in values),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default=os.environ.get("CLUSTER", "diffusion"))
    options = parser.parse_args()
    begun = time.monotonic()
    try:
        with ended_by_sigterm():
            installed = install(options.name)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say(f"the operator runs in namespace {NAMESPACE} ({time.monotonic() - begun:.0f} s)")
    print(json.dumps(asdict(installed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
