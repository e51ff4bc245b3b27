"""Every module and environment is formatted, valid, described and tested."""

import re
import subprocess

import pytest

from terraform_offline.paths import TERRAFORM
from terraform_offline.programs import terraform
from terraform_offline.workspace import DIRECTORIES, MODULES, ROOTS, Workspace

_BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_VALIDATION = "\n  validation {\n"


def test_it_is_formatted() -> None:
    done = subprocess.run(
        [terraform(), "fmt", "-check", "-recursive", TERRAFORM], capture_output=True, check=False
    )
    assert done.returncode == 0, f"run `terraform fmt -recursive terraform`:\n{done.stdout!r}"


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_it_is_valid(workspace: Workspace, directory: str) -> None:
    outcome = workspace.terraform(directory, "validate")
    assert outcome.ok, outcome.output


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_its_own_tests_pass(workspace: Workspace, directory: str) -> None:
    outcome = workspace.terraform(directory, "test")
    assert outcome.ok, outcome.output
    passed = re.search(r"Success! (\d+) passed", outcome.output)
    assert passed is not None
    assert int(passed[1]) > 0, "a directory without tests shows nothing"


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_its_inputs_and_outputs_explain_themselves(directory: str) -> None:
    for name in ("variables.tf", "outputs.tf"):
        for kind, variable, body in _BLOCK.findall((TERRAFORM / directory / name).read_text()):
            assert "  description = " in body, f"{kind} {variable}"
            assert kind == "output" or "  type " in body, f"{kind} {variable}"


@pytest.mark.parametrize("directory", MODULES)
def test_a_modules_inputs_are_validated(directory: str) -> None:
    for name, body in _variables(directory).items():
        free = re.search(r"^  type += (bool|any)$", body, re.MULTILINE)
        assert free or _VALIDATION in body, f"{name} takes any value"


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_each_validation_is_seen_to_refuse(directory: str) -> None:
    tests = "".join(each.read_text() for each in (TERRAFORM / directory / "tests").iterdir())
    refused = set(re.findall(r"expect_failures += \[var\.(\w+)\]", tests))
    assert refused == {name for name, body in _variables(directory).items() if _VALIDATION in body}


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_everything_declared_is_used(directory: str) -> None:
    files = sorted((TERRAFORM / directory).glob("*.tf"))
    text = "".join(each.read_text() for each in files)
    unused = {
        name
        for name, body in _variables(directory).items()
        if not re.search(rf"\bvar\.{name}\b", text.replace(body, ""))
    }
    # A test environment knows prod's project only to refuse it.
    assert unused == ({"prod_project_id"} if directory == "environments/test" else set())
    for block in re.findall(r"^locals \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        for name in re.findall(r"^  (\w+) +=", block, re.MULTILINE):
            assert re.search(rf"\blocal\.{name}\b", text), name


def _variables(directory: str) -> dict[str, str]:
    """The body of each variable's block."""
    text = (TERRAFORM / directory / "variables.tf").read_text()
    return {name: body for kind, name, body in _BLOCK.findall(text) if kind == "variable"}


@pytest.mark.parametrize("directory", ROOTS)
def test_a_root_pins_its_providers_and_locks_them(directory: str) -> None:
    versions = (TERRAFORM / directory / "versions.tf").read_text()
    pinned = dict(re.findall(r'source +?= "(.*?)"\s+version += "(\d+\.\d+\.\d+)"', versions))
    lock = (TERRAFORM / directory / ".terraform.lock.hcl").read_text()
    locked = dict(
        re.findall(r'provider "registry.terraform.io/(.*?)" \{\s+version += "(.*?)"', lock)
    )
    assert pinned
    assert pinned == locked


@pytest.mark.parametrize("directory", ROOTS)
def test_a_roots_state_is_remote_and_locked(directory: str) -> None:
    assert 'backend "gcs"' in (TERRAFORM / directory / "versions.tf").read_text()
