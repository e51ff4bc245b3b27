"""Cuts the one lock file into a requirements file for each image layer.

A layer is rebuilt when its requirements file changes, so each slice holds the packages of its layer
and nothing else: a new ruff in the lock leaves the 6 GB of torch unchanged. The build runs this
file as `python3 locks.py PYPROJECT LOCK OUT_DIR`; the calculation of tags imports it.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = "diffusion-operator"
LAYERS: Mapping[str, tuple[str, ...]] = {
    "operator": ("operator",),
    "loadtest": ("loadtest",),
    "fastapi": ("cuda", "torch", "serving", "fastapi"),
    "litserve": ("cuda", "torch", "serving", "litserve"),
    "rayserve": ("cuda", "torch", "serving", "rayserve"),
}
"""The layers of each image, lowest first. `cuda` has nvidia's packages that torch needs, 3 GB that
several releases of torch share; `torch` has torch; the others are extras of pyproject.toml."""


class LockError(Exception):
    """The lock lacks a package, hashes, or the `# via` comments that link packages."""


@dataclass(frozen=True)
class Package:
    """A package's pins as in the lock, several if markers distinguish them."""

    name: str
    pins: str
    needed_by: frozenset[str]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_lock(text: str) -> dict[str, Package]:
    """Reads a lock that `uv pip compile --generate-hashes` has written.

    Raises:
        LockError: A package has no hashes.
    """
    packages: dict[str, Package] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", "\n" + text)[1:]:
        lines = block.splitlines()
        pins = [line for line in lines if not line.lstrip().startswith("#")]
        name = normalized(re.split(r"[=\[ ;]", lines[0], maxsplit=1)[0])
        if not any("--hash=" in pin for pin in pins):
            raise LockError(f"{name} has no hash in the lock: write it with --generate-hashes")
        comments = (
            line.strip().lstrip("#").strip() for line in lines if line.lstrip().startswith("#")
        )
        parents = (comment.removeprefix("via").strip() for comment in comments)
        needed_by = frozenset(
            normalized(parent.split("[")[0].split()[0]) for parent in parents if parent
        )
        earlier = packages.get(name)
        packages[name] = Package(
            name,
            (earlier.pins if earlier else "") + "\n".join(pins) + "\n",
            needed_by | (earlier.needed_by if earlier else frozenset()),
        )
    return packages


def closure(packages: Mapping[str, Package], roots: Iterable[str]) -> set[str]:
    """The packages that `roots` need, including the roots.

    Raises:
        LockError: The lock lacks a package.
    """
    reached: set[str] = set()
    todo = [normalized(root) for root in roots]
    while todo:
        name = todo.pop()
        if name not in packages:
            raise LockError(
                f"{name} is not in the lock: run `uv pip compile` again as its first lines say"
            )
        if name not in reached:
            reached.add(name)
            todo += [package.name for package in packages.values() if name in package.needed_by]
    return reached


def _names(requirements: Iterable[str]) -> list[str]:
    return [
        re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]
        for requirement in requirements
    ]


def slices(pyproject: str, lock: str) -> dict[str, str]:
    """Maps each layer to its requirements: the packages that it needs and no layer below it has.

    Raises:
        LockError: The lock doesn't hold a package that pyproject.toml requires.
    """
    project: dict[str, Any] = tomllib.loads(pyproject)["project"]
    always, extras = project.get("dependencies", []), project["optional-dependencies"]
    packages = parse_lock(lock)
    if not any(PROJECT in package.needed_by for package in packages.values()):
        raise LockError("the lock has no `# via` comments: write it without --no-annotate")
    result: dict[str, str] = {}
    for layers in LAYERS.values():
        below: set[str] = set()
        for layer in layers:
            if layer in {"cuda", "torch"}:
                required = closure(packages, ["torch"])
            else:
                required = closure(packages, _names([*always, *extras[layer]]))
            if layer == "cuda":
                required = {name for name in required if name.startswith(("cuda-", "nvidia-"))}
            required -= below
            below |= required
            result[layer] = "".join(packages[name].pins for name in sorted(required))
    return result


def metadata(pyproject: str) -> str:
    """The METADATA file that `importlib.metadata.version("diffusion-operator")` reads."""
    project: dict[str, Any] = tomllib.loads(pyproject)["project"]
    return f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"


def main(arguments: list[str]) -> int:
    pyproject, lock, out = (Path(argument) for argument in arguments)
    out.mkdir(parents=True, exist_ok=True)
    for layer, text in slices(pyproject.read_text(), lock.read_text()).items():
        (out / f"{layer}.txt").write_text(text)
    information = out / "diffusion_operator.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text(metadata(pyproject.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
