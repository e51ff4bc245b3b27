"""Versions of installed packages, without importing them."""

import platform
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("torch", "diffusers", "transformers")
_DRIVER = Path("/proc/driver/nvidia/version")
_FRAMEWORKS = {"fastapi": "fastapi", "litserve": "litserve", "rayserve": "ray"}
"""The package of each backend."""


@cache
def versions() -> dict[str, str]:
    """Returns the versions of Python, this program and the libraries that decide an image."""
    return {
        "python": platform.python_version(),
        "diffusion_serving": _version("diffusion-operator"),
        **{package: _version(package) for package in _PACKAGES},
    }


def versions_with(backend: str) -> dict[str, str]:
    """Returns `versions`, and those of the backend's framework and of a GPU's driver."""
    framework = _FRAMEWORKS[backend]
    driver = driver_version()
    known = {**versions(), framework: _version(framework)}
    return known if driver is None else {**known, "driver": driver}


def driver_version(file: Path = _DRIVER) -> str | None:
    """Returns the version of the node's NVIDIA driver; None where there is none."""
    try:
        match = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text())
    except OSError:
        return None
    return match.group(1) if match else None


def build_info(backend: str, device: str, precision: str) -> dict[str, str]:
    """Returns the labels of `diffusion_build_info`."""
    return {
        "version": versions()["diffusion_serving"],
        "backend": backend,
        "device": device,
        "precision": precision,
        "torch": versions()["torch"],
        "diffusers": versions()["diffusers"],
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
