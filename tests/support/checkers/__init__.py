"""Third-party checkers of workflows, Terraform, Lua and alerts, each locked and installed once."""

import fcntl
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from localcluster.console import Progress
from localcluster.programs import Program, built
from terraform_offline.paths import DERIVED, TOOLS, UV, content_hash

_HERE = Path(__file__).resolve().parent

_ACTIONLINT = Program(
    "actionlint",
    ("actionlint",),
    package="github.com/rhysd/actionlint/cmd/actionlint",
    versioned_by="github.com/rhysd/actionlint",
    sources=_HERE / "go",
)
_GLUA = Program(
    "glua",
    ("glua",),
    package="github.com/yuin/gopher-lua/cmd/glua",
    versioned_by="github.com/yuin/gopher-lua",
    sources=_HERE / "go",
)
_CEL = Program("cel", ("cel",), hint="2 minutes", sources=_HERE / "go")
_PROMTOOL = Program(
    "promtool",
    ("promtool",),
    package="github.com/prometheus/prometheus/cmd/promtool",
    versioned_by="github.com/prometheus/prometheus",
    hint="about 2 minutes on 2 cores",
    sources=_HERE / "go",
)
# Without the clients of all clouds' machine lists, which take most of the build and no rule needs.
_PROMTOOL_FLAGS = "-tags=remove_all_sd"


@cache
def actionlint() -> Path:
    """The linter of GitHub workflows."""
    return built(_ACTIONLINT, TOOLS, Progress()) / "actionlint"


@cache
def glua() -> Path:
    """The Lua interpreter that Argo CD runs health checks with."""
    return built(_GLUA, TOOLS, Progress()) / "glua"


@cache
def cel() -> Path:
    """The evaluator of CEL, the language of Google's conditions."""
    return built(_CEL, TOOLS, Progress()) / "cel"


@cache
def promtool() -> Path:
    """The tester of Prometheus' rules."""
    before = os.environ.get("GOFLAGS", "")
    os.environ["GOFLAGS"] = f"{before} {_PROMTOOL_FLAGS}"
    try:
        return built(_PROMTOOL, TOOLS, Progress()) / "promtool"
    finally:
        os.environ["GOFLAGS"] = before


@cache
def checkov() -> Path:
    """The checker of security in Terraform, manifests and Dockerfiles."""
    return _locked("checkov")


@cache
def zizmor() -> Path:
    """The checker of security in GitHub workflows."""
    return _locked("zizmor")


def _locked(name: str) -> Path:
    """A program of PyPI in its own environment, since its dependencies aren't the project's."""
    lock = _HERE / f"{name}.lock"
    folder = DERIVED / f"{name}-{content_hash(lock.read_bytes(), sys.version.encode())}"
    DERIVED.mkdir(parents=True, exist_ok=True)
    with (DERIVED / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            pip = [str(UV), "--quiet"]
            subprocess.run([*pip, "venv", "--python", sys.executable, str(folder)], check=True)
            install = ["pip", "install", "--python", str(folder), "--require-hashes"]
            subprocess.run([*pip, *install, "--requirement", str(lock)], check=True)
            (folder / "done").touch()
    return folder / "bin" / name
