"""Installs a slice of the lock into an image; runs inside the build, on the base's own Python.

    python3 install.py LAYER

Packages are copied from the build machine's uv cache if that holds them all. Otherwise they are
downloaded into the layer's own file system and linked from there, so that each is written once: a
separate cache would take another 7 GB of disk, only for the next build of the same layer.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_VENV = Path("/opt/venv")
_UV = "/tools/uv"
_HOST_CACHE = Path("/var/cache/host-uv")
"""The mount of the machine's own cache, if the builder provides one; buildah.py does."""
_CA = Path("/run/secrets/ca.crt")


class Run(Protocol):
    """Runs a command to its end, with or without its output, and returns its exit code."""

    def __call__(self, command: Sequence[str], *, env: Mapping[str, str], quietly: bool) -> int: ...


@dataclass(frozen=True)
class Places:
    """The folders of a build, which tests replace."""

    venv: Path = _VENV
    host_cache: Path = _HOST_CACHE
    ca: Path = _CA


def install(layer: str, places: Places, run: Run) -> int:
    """Installs the packages of `layer`, and returns uv's exit code."""
    env = {"SSL_CERT_FILE": str(places.ca)} if places.ca.is_file() else {}
    if places.host_cache.is_dir():
        lent = ["--offline", "--cache-dir", str(places.host_cache), "--link-mode", "copy"]
        # uv installs nothing unless the cache holds every package.
        if run(_command(layer, places, lent), env=env, quietly=True) == 0:
            print("installed from the build machine's own cache", flush=True)
            return 0
    downloads = places.venv / ".downloads"
    own = ["--cache-dir", str(downloads), "--link-mode", "hardlink"]
    try:
        return run(_command(layer, places, own), env=env, quietly=False)
    finally:
        shutil.rmtree(downloads, ignore_errors=True)


def _command(layer: str, places: Places, cache: list[str]) -> list[str]:
    lock = places.venv / "locks" / f"{layer}.txt"
    checked = ["--require-hashes", "--no-deps", "--compile-bytecode", "-r", str(lock)]
    return [_UV, "pip", "install", "--python", str(places.venv), *cache, *checked]


def _run(command: Sequence[str], *, env: Mapping[str, str], quietly: bool) -> int:
    output = subprocess.DEVNULL if quietly else None
    done = subprocess.run(
        command, env={**os.environ, **env}, stdout=output, stderr=output, check=False
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(install(sys.argv[1], Places(), _run))
