"""KubeRay as it is published: its kinds and its operator, from the Go module of the latter."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

MODULE = "github.com/ray-project/kuberay/ray-operator@v1.5.1"


@cache
def sources() -> Path:
    """The folder of the module, which Go fetches once and checks."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", MODULE], check=True, stdout=subprocess.PIPE, text=True
    )
    return Path(json.loads(done.stdout)["Dir"])


def definitions() -> list[Path]:
    """The files of its CustomResourceDefinitions."""
    return sorted((sources() / "config/crd/bases").glob("*.yaml"))


@contextmanager
def operating(kubeconfig: str, folder: Path) -> Iterator[Path]:
    """KubeRay's operator, built and run in the folder for a while; its log.

    It reaches the pods through the API server, being no pod itself.
    """
    program, log = folder / "ray-operator", folder / "ray-operator.log"
    built_in = folder / "sources"
    shutil.copytree(sources(), built_in, copy_function=shutil.copyfile)
    subprocess.run(["chmod", "-R", "u+w", str(built_in)], check=True)
    build = ["go", "build", "-mod=mod", "-buildvcs=false", "-o", str(program), "."]
    subprocess.run(build, cwd=built_in, check=True)
    command = [
        str(program),
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
