"""KubeRay's published kinds and operator, from the operator's Go module."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from localcluster.console import Progress
from localcluster.programs import Program, built
from terraform_offline.paths import TOOLS

_MODULE = "github.com/ray-project/kuberay/ray-operator"
_OPERATOR = Program(
    "ray-operator",
    ("ray-operator",),
    package=_MODULE,
    versioned_by=_MODULE,
    hint="2 minutes",
    sources=Path(__file__).parent / "go",
)


@cache
def ray_operator() -> Path:
    """KubeRay's operator, built once."""
    return built(_OPERATOR, TOOLS, Progress()) / "ray-operator"


@cache
def sources() -> Path:
    """The folder of the module, which Go downloads once and verifies."""
    module = f"{_MODULE}@{_OPERATOR.version}"
    done = subprocess.run(
        ["go", "mod", "download", "-json", module], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(json.loads(done.stdout)["Dir"])


def definitions() -> list[Path]:
    """The files of its CustomResourceDefinitions."""
    return sorted((sources() / "config/crd/bases").glob("*.yaml"))


@contextmanager
def operating(kubeconfig: str, folder: Path) -> Iterator[Path]:
    """Runs KubeRay's operator for a while, with its log in the folder; yields the log.

    The operator is no pod, so it reaches pods through the API server.
    """
    log = folder / "ray-operator.log"
    command = [
        str(ray_operator()),
        f"--kubeconfig={kubeconfig}",
        "--use-kubernetes-proxy",
        "--enable-leader-election=false",
        "--metrics-addr=127.0.0.1:0",
        "--health-probe-bind-address=127.0.0.1:0",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield log
    finally:
        process.terminate()
        process.wait()
