"""The inputs of each image, and the tag that follows from them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from image_build.locks import LAYERS, metadata, slices

DEFAULT_BASE = "docker.io/library/python:3.11-slim-bookworm"
"""The Dockerfile's own default of ARG BASE."""

DOCKERFILE = "images/Dockerfile"
AMD64 = "linux/amd64"
ARM64 = "linux/arm64"
_RECIPE = (
    "images/image_build/install.py",
    "images/tools.lock",
    ".dockerignore",
)
_LICENCES = ("LICENSE", "NOTICE")
_SHARED_STAGE = "serving"
_NOT_COPIED = ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")


@dataclass(frozen=True)
class Image:
    """An image: its target in the Dockerfile, its name in a registry, and the paths it copies.

    ``platforms`` are those that CI builds it for, as docker names them.
    """

    target: str
    name: str
    sources: tuple[str, ...]
    dockerfile: str = DOCKERFILE
    platforms: tuple[str, ...] = (AMD64,)


IMAGES = (
    # These two need no GPU, so they run on nodes of either processor.
    Image(
        "operator",
        "diffusion-operator",
        (*_LICENCES, "operator/diffusion_operator"),
        platforms=(AMD64, ARM64),
    ),
    Image(
        "loadtest",
        "diffusion-loadtest",
        (*_LICENCES, "loadtest/diffusion_loadtest"),
        platforms=(AMD64, ARM64),
    ),
    *(
        Image(
            backend,
            f"diffusion-serving-{backend}",
            (*_LICENCES, "serving/diffusion_serving", "images/demo_model/weights"),
        )
        for backend in ("fastapi", "litserve", "rayserve")
    ),
)


def shared_stage(image: Image) -> str | None:
    """The Dockerfile's slow stage that `image` shares with others, if there is one."""
    return _SHARED_STAGE if _SHARED_STAGE in LAYERS.get(image.target, ()) else None


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.name not in _NOT_COPIED:
                yield from _files(entry)
    else:
        raise FileNotFoundError(f"{path} goes into an image but does not exist")


def tag(root: Path, image: Image, base: str) -> str:
    """The tag: sixteen hex digits that change if, and only if, an input of `image` changes.

    Only the layers' slices of the lock count, so a new linter gives no new image. Modification
    times don't count, so two clones agree.

    Raises:
        FileNotFoundError: The checkout lacks a file, so it can't be built.
        LockError: The lock doesn't hold a required package, so the checkout can't be built.
    """
    digest = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)

    add("base", base.encode())
    # A registry that holds an image for fewer processors lacks this one.
    if image.platforms != (AMD64,):
        add("platforms", " ".join(image.platforms).encode())
    pyproject = (root / "pyproject.toml").read_text()
    add("metadata", metadata(pyproject).encode())
    cut = slices(pyproject, (root / "requirements.lock").read_text())
    for layer in LAYERS.get(image.target, ()):
        add(f"layer {layer}", cut[layer].encode())
    for source in (image.dockerfile, *_RECIPE, *image.sources):
        for path in _files(root / source):
            executable = "x" if path.stat().st_mode & 0o100 else "-"
            add(f"{executable} {path.relative_to(root).as_posix()}", path.read_bytes())
    return digest.hexdigest()[:16]
