"""Fixtures that render the manifests with the real programs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
Render = Callable[..., list[dict[str, Any]]]


def _tool(name: str) -> str:
    command = [sys.executable, "-m", "localcluster", "tool", name]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def _objects(command: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(scope="session")
def kustomize() -> Render:
    """The objects of a folder with a kustomization."""
    kubectl = _tool("kubectl")
    return lambda folder: _objects([kubectl, "kustomize", folder])


@pytest.fixture(scope="session")
def template() -> Render:
    """The chart's objects, given further arguments of `helm template`."""
    helm = _tool("helm")
    command = [helm, "template", "diffusion-operator", "deploy/chart"]
    return lambda *arguments: _objects(
        [*command, "--namespace", "diffusion-system", *map(str, arguments)]
    )
