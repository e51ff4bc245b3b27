"""A stand-in of Terraform with a state in a bucket: initialised folders, locks, saved plans.

The sources are developer.hashicorp.com/terraform/cli/commands, and for the lock, which is
PREFIX/default.tflock, hashicorp/terraform, internal/backend/remote-state/gcs.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from dry_walk.calls import Call, fail

TERRAFORM = {
    "init": {"-backend-config", "-lockfile", "-reconfigure"},
    "plan": {"-lock", "-refresh", "-no-color", "-out", "-var"},
    "apply": {"-auto-approve", "-target", "-var"},
    "destroy": {"-auto-approve", "-var"},
    "output": {"-raw", "-json"},
    "show": {"-no-color"},
    "state rm": set(),
    "providers lock": {"-platform"},
    "fmt": {"-recursive"},
}
State = dict[str, Any]


def terraform(words: list[str], state: State) -> None:
    call = Call([each for each in words if not each.startswith("-chdir=")], TERRAFORM)
    if call.command in {"fmt", "providers lock"}:
        return
    if not Path("versions.tf").exists():
        fail("No configuration files")
    if not state["google"]:
        fail("could not find default credentials")
    here = str(Path.cwd())
    if call.command == "init":
        state["roots"][here] = _backend(call)
        return
    if here not in state["roots"]:
        fail("Backend initialization required, please run terraform init")
    at = state["roots"][here]
    if call.value("-lock") != "false" and f"{at}/default.tflock" in state["objects"]:
        fail("Error acquiring the state lock")
    if call.command in _ANSWERS:
        _ANSWERS[call.command](call, state, at)


def _backend(call: Call) -> str:
    """Bucket and folder of the state."""
    pairs = dict(each.split("=", 1) for each in call.options["-backend-config"])
    prefix = re.search(r'prefix += "(.*?)"', Path("versions.tf").read_text())
    folder = pairs.get("prefix") or (prefix[1] if prefix else "")
    if not pairs.get("bucket") or not folder:
        fail(f"the backend needs a bucket and a prefix, not {pairs}")
    return f"{pairs['bucket']}/{folder}"


def _variables(call: Call) -> set[str]:
    """The variables that a run of Terraform gets a value for."""
    given = {each.partition("=")[0] for each in call.options.get("-var", [])}
    given |= {name.removeprefix("TF_VAR_") for name in os.environ if name.startswith("TF_VAR_")}
    for file in Path().glob("*.auto.tfvars"):
        given |= set(re.findall(r"^(\w+) +=", file.read_text(), re.MULTILINE))
    for file in Path().glob("*.auto.tfvars.json"):
        given |= set(json.loads(file.read_text()))
    return given


def _require_variables(call: Call) -> None:
    text = Path("variables.tf").read_text()
    blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    given = _variables(call)
    for name, body in blocks:
        if "  default" not in body and name not in given:
            fail(f"No value for required variable {name}")
    if unknown := given - {name for name, _ in blocks}:
        fail(f"Value for undeclared variable {sorted(unknown)}")


def _output(call: Call, state: State, at: str) -> None:
    (name,) = call.operands
    if name not in re.findall(r'^output "(\w+)"', Path("outputs.tf").read_text(), re.MULTILINE):
        fail(f'Output "{name}" not found')
    if f"{at}/default.tfstate" not in state["objects"]:
        fail("The state file either has no outputs defined")
    print(state["outputs"][name], end="")


def _show(call: Call, _: State, __: str) -> None:
    print(Path(call.operands[0]).read_text())


def _serial(state: State, at: str) -> str:
    return str(state["objects"].get(f"{at}/default.tfstate", ""))


def _plan(call: Call, state: State, at: str) -> None:
    _require_variables(call)
    Path(call.value("-out") or "unsaved").write_text(json.dumps({"serial": _serial(state, at)}))


def _apply(call: Call, state: State, at: str) -> None:
    if call.operands:
        if json.loads(Path(call.operands[0]).read_text())["serial"] != _serial(state, at):
            fail("Saved plan is stale")
    else:
        _require_variables(call)
        if "-auto-approve" not in call.options and os.environ.get("TF_INPUT") == "0":
            fail("Cannot apply without approval while input is disabled")
    state["applies"] += 1
    state["objects"][f"{at}/default.tfstate"] = f"2026-11-30T12:00:{state['applies']:02}+0000"


def _destroy(call: Call, state: State, at: str) -> None:
    _require_variables(call)
    state["destroyed"].append(at)


_ANSWERS = {
    "apply": _apply,
    "destroy": _destroy,
    "output": _output,
    "plan": _plan,
    "show": _show,
}
