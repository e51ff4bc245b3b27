"""Put the operator on a cluster: its images where the cluster finds them, its chart installed.

    python3 deploy/install.py                         the local cluster, made if it isn't there
    CONTEXT=gke-team REGISTRY=europe-docker.pkg.dev/p/r python3 deploy/install.py

Every step is skipped when it is already done. Needs nothing but Python; says what else it lacks.
The names of what it made go to stdout as JSON, progress to stderr.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "diffusion-system"
RELEASE = "diffusion-operator"


@dataclass(frozen=True)
class Installed:
    """What a client needs to use the cluster and the operator on it."""

    kubeconfig: str
    """A file whose current context is the cluster."""
    kubectl: str
    helm: str
    namespace: str = NAMESPACE
    release: str = RELEASE

    def kubectl_command(self) -> list[str]:
        return [self.kubectl, f"--kubeconfig={self.kubeconfig}"]


class InstallError(Exception):
    """A step failed; the message says which, and its own output what to do."""


def _say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


def _output(command: list[str], what: str) -> str:
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"{what} failed (exit code {done.returncode})")
    return done.stdout


def install(name: str) -> Installed:
    """Install the operator on the local cluster ``name``, or on ``CONTEXT``.

    Raises ``InstallError``.
    """

    def localcluster(*arguments: str, what: str) -> str:
        # It reads CONTEXT and REGISTRY itself.
        return _output([sys.executable, "-m", "localcluster", *arguments], what).strip()

    _say("cluster")
    localcluster("up", "--name", name, what="starting the cluster")
    installed = Installed(
        kubeconfig=localcluster("kubeconfig", "--name", name, what="finding the cluster"),
        kubectl=localcluster("tool", "kubectl", what="finding kubectl"),
        helm=localcluster("tool", "helm", what="finding helm"),
    )
    _say("images")
    built = _output([sys.executable, "images/build.py", "--json"], "building the images")
    images: dict[str, str] = json.loads(built)
    names = localcluster("load", "--name", name, *images.values(), what="loading the images")
    _say("operator")
    values = dict(zip(images, names.splitlines(), strict=True))
    _output(_helm(installed, values), "installing the chart")
    return installed


def _helm(installed: Installed, images: dict[str, str]) -> list[str]:
    values = {
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
        *(f"--set-string={name}={image}" for name, image in values.items()),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default=os.environ.get("CLUSTER", "diffusion"))
    options = parser.parse_args()
    begun = time.monotonic()
    try:
        installed = install(options.name)
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _say(f"the operator runs in namespace {NAMESPACE} ({time.monotonic() - begun:.0f} s)")
    print(json.dumps(asdict(installed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
