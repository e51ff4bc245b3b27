"""What is installed, without importing any of it."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from diffusion_serving.config import Settings

_PACKAGES = ("torch", "diffusers", "transformers")
_FRAMEWORKS = {"fastapi": "fastapi", "litserve": "litserve", "rayserve": "ray"}
"""The package of each backend."""


@cache
def versions() -> dict[str, str]:
    """Versions of Python, of this program and of the libraries that decide an image."""
    return {
        "python": platform.python_version(),
        "diffusion_serving": _version("diffusion-operator"),
        **{package: _version(package) for package in _PACKAGES},
    }


def versions_with(backend: str) -> dict[str, str]:
    """The same and the version of the backend's framework."""
    framework = _FRAMEWORKS[backend]
    return {**versions(), framework: _version(framework)}


def build_info(settings: Settings) -> dict[str, str]:
    """Labels of `diffusion_build_info`."""
    return {
        "version": versions()["diffusion_serving"],
        "backend": settings.config.backend,
        "device": settings.config.device,
        "precision": settings.config.precision,
        "torch": versions()["torch"],
        "diffusers": versions()["diffusers"],
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
