"""Runs Argo CD's health scripts for a resource, on the Lua interpreter that Argo CD embeds."""

import subprocess
from pathlib import Path
from typing import Any

from checkers import glua

ROOT = Path(__file__).parents[2]
CUSTOMIZATIONS = ROOT / "deploy" / "argocd" / "resource_customizations"

_HARNESS = """\
obj = {object}
local check = assert(loadfile({script}))
-- Argo CD gives a script neither files nor programs.
io, os, debug, package, require, dofile, loadfile, loadstring = nil
local health = check()
print(health.status)
print(health.message or "")
"""


def lua(value: Any) -> str:
    """The value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua(key)}] = {lua(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(lua(each) for each in value) + "}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nil"}[value]
    if isinstance(value, str):
        return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
    return repr(value)


def health(script: Path, resource: dict[str, Any], folder: Path) -> dict[str, str]:
    """The health of the resource by the script: status and message."""
    harness = folder / "harness.lua"
    harness.write_text(_HARNESS.format(object=lua(resource), script=lua(str(script))))
    done = subprocess.run([glua(), harness], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, message = done.stdout.removesuffix("\n").split("\n", 1)
    return {"status": status, "message": message}
