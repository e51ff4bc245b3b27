"""What is installed, without importing any of it."""

import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from diffusion_serving.config import Settings

_PACKAGES = ("torch", "diffusers", "transformers")
_DRIVER = Path("/proc/driver/nvidia/version")
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
    """The same and the versions of the backend's framework and of a GPU's driver."""
    framework = _FRAMEWORKS[backend]
    driver = driver_version()
    found = {**versions(), framework: _version(framework)}
    return found if driver is None else {**found, "driver": driver}


def driver_version(file: Path = _DRIVER) -> str | None:
    """Version of the node's NVIDIA driver; None where there is none."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text())
    except OSError:
        return None
    return found.group(1) if found else None


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
