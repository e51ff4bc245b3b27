"""Terraform refuses each mistake, made in a copy of each module and environment."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from terraform_offline.paths import ROOT
from terraform_offline.workspace import DIRECTORIES, MODULES, Outcome, Workspace

_CALL = re.compile(r'^((?:resource|module) ".*?") \{\n.*?^\}', re.MULTILINE | re.DOTALL)
_META = re.compile(r"^  (?:source|for_each|count) ", re.MULTILINE)
_ARGUMENT = re.compile(r"^  (\w+)( +)= .*$", re.MULTILINE)


def _with_first_value(value: str, call: str) -> str:
    """The call with another value for its first argument that isn't a meta-argument."""
    first = next(each for each in _ARGUMENT.finditer(call) if not _META.match(each[0]))
    return f"{call[: first.start()]}  {first[1]}{first[2]}= {value}{call[first.end() :]}"


def _with_unknown_argument(call: str) -> str:
    return call.replace("\n}", "\n  no_such_argument = true\n}")


def _without_argument(name: str, call: str) -> str:
    return re.sub(rf"^  {name} +=.*\n", "", call, count=1, flags=re.MULTILINE)


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown argument": (_with_unknown_argument, "Unsupported argument"),
    "wrong type": (partial(_with_first_value, '["a", {}]'), "string required"),
    "dangling reference": (
        partial(_with_first_value, "module.no_such_module.id"),
        "Reference to undeclared module",
    ),
}

REQUIRED = {
    "bootstrap": "project_id",
    "environments/prod": "project_id",
    "environments/test": "project_id",
    "modules/cluster": "name",
    "modules/gpu_pool": "cluster",
    "modules/identity": "account_id",
    "modules/network": "name",
    "modules/operator": "chart",
    "modules/pod_identity": "service_account_id",
    "modules/registry": "repository_id",
    "modules/services": "service",
    "modules/storage": "location",
}
"""A required argument of each directory's first resource or module call."""


def _mistakes(directory: str) -> dict[str, tuple[Callable[[str], str], str]]:
    name = REQUIRED[directory]
    missing = (partial(_without_argument, name), f'The argument "{name}" is required')
    return MISTAKES | {"missing argument": missing}


def _renamed(name: str, call: str) -> str:
    return re.sub(r'^(resource ".*?") ".*?"', rf'\1 "{name}"', call)


Broken = tuple[str, dict[str, str]]
"""A configuration with mistakes, and the call that holds each of them."""


def _broken_resources(text: str, directory: str) -> Iterator[Broken]:
    """Yields the configuration with a copy of its first resource for each mistake."""
    first = next(_CALL.finditer(text))
    places = {}
    for number, (mistake, (change, _)) in enumerate(_mistakes(directory).items()):
        call = _renamed(f"mistake_{number}", first[0])
        changed = change(call)
        assert changed != call
        text += f"\n{changed}\n"
        places[mistake] = re.sub(r'"[^"]*"$', f'"mistake_{number}"', first[1])
    yield text, places


def _broken_calls(text: str, directory: str) -> Iterator[Broken]:
    """Yields the configuration with mistakes in its first module call, which can't be copied.

    Terraform checks names before values, and nothing that follows from a mistake.
    """
    mistakes = _mistakes(directory)
    first = next(_CALL.finditer(text))
    for together in (
        ("unknown argument", "missing argument"),
        ("wrong type",),
        ("dangling reference",),
    ):
        call = first[0]
        for mistake in together:
            changed = mistakes[mistake][0](call)
            assert changed != call
            call = changed
        yield text.replace(first[0], call), dict.fromkeys(together, first[1])


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_each_mistake_is_refused_where_it_is(broken: Workspace, directory: str) -> None:
    main = broken.directory(directory) / "main.tf"
    right = main.read_text()
    break_ = _broken_resources if directory in MODULES else _broken_calls
    missed = {}
    for wrong, places in break_(right, directory):
        main.write_text(wrong)
        complaints = _complaints(broken.terraform(directory, "validate", "-json"))
        for mistake, place in places.items():
            _, complaint = _mistakes(directory)[mistake]
            if not any(where == place and complaint in text for where, text in complaints):
                missed[mistake] = complaints
    assert missed == {}


def _complaints(outcome: Outcome) -> list[tuple[str, str]]:
    """Each of Terraform's errors: the call that holds it, and the message."""
    assert not outcome.ok, outcome.output
    errors = [
        one for one in json.loads(outcome.output)["diagnostics"] if one["severity"] == "error"
    ]
    return [
        ((one.get("snippet") or {}).get("context") or "", f"{one['summary']}: {one['detail']}")
        for one in errors
    ]


def _without_arguments(call: str) -> str:
    """The call with its meta-arguments only, without arguments and blocks."""
    head, *lines = call.splitlines()
    begins = [n for n, line in enumerate(lines) if re.match(r"  \w", line)]
    ends = [*begins[1:], len(lines) - 1]
    kept = [
        line
        for begin, end in zip(begins, ends, strict=True)
        if _META.match(lines[begin])
        for line in lines[begin:end]
    ]
    return "\n".join([head, *kept, "}"])


@pytest.mark.full
@pytest.mark.parametrize("directory", DIRECTORIES)
def test_a_mistake_in_any_call_is_refused(broken: Workspace, directory: str) -> None:
    """Makes every mistake in every call; the test above makes each in one call of a directory."""
    main = broken.directory(directory) / "main.tf"
    right = main.read_text()
    changes = [*MISTAKES.values(), (_without_arguments, "Missing required argument")]
    accepted = []
    for call in _CALL.finditer(right):
        for change, complaint in changes:
            main.write_text(right[: call.start()] + change(call[0]) + right[call.end() :])
            messages = broken.terraform(directory, "validate").output
            if complaint not in messages or f"in {call[1]}" not in messages:
                accepted.append(f"{call[1]}: {complaint}\n{messages}")
    assert not accepted, "\n".join(accepted)


@pytest.mark.parametrize(
    ("directory", "right", "wrong", "complaint"),
    [
        ("modules/network", '= "AUTO_ONLY"', '= "SOMETIMES"', "AUTO_ONLY"),
        ("modules/network", '= "REGIONAL"', '= "LOCAL"', "REGIONAL"),
        ("modules/registry", 'action = "KEEP"', 'action = "HOLD"', "KEEP"),
    ],
)
def test_a_value_that_the_documentation_does_not_list_is_refused(
    broken: Workspace, directory: str, right: str, wrong: str, complaint: str
) -> None:
    outcome = _changed(broken, directory, right, wrong, "validate")
    assert not outcome.ok
    assert complaint in outcome.output


@pytest.mark.parametrize(
    ("directory", "right", "wrong", "complaint"),
    [
        (
            "modules/cluster",
            "enable_private_nodes = true",
            "enable_private_nodes = false",
            "nodes must be private",
        ),
        ("modules/gpu_pool", '"nvidia.com/gpu"', '"gpu"', "does not tolerate the nodes' taint"),
        (
            "modules/registry",
            "roles/artifactregistry.reader",
            "roles/artifactregistry.writer",
            "pull",
        ),
        ("environments/test", "name       = local.name", 'name       = "prod"', "branch"),
    ],
)
def test_a_wrong_decision_fails_the_directorys_own_tests(
    broken: Workspace, directory: str, right: str, wrong: str, complaint: str
) -> None:
    outcome = _changed(broken, directory, right, wrong, "test")
    assert not outcome.ok
    assert complaint in " ".join(outcome.output.split())


def test_a_catalogue_that_selects_other_nodes_fails_the_pools_tests(broken: Workspace) -> None:
    chart = broken.folder / "deploy" / "chart"
    broken.folder.joinpath("deploy").unlink()
    chart.mkdir(parents=True)
    values = (ROOT / "deploy" / "chart" / "values.yaml").read_text()
    renamed = values.replace("gke-accelerator: nvidia-l4", "gke-accelerator: nvidia-l5")
    assert renamed != values
    (chart / "values.yaml").write_text(renamed)

    outcome = broken.terraform("modules/gpu_pool", "test")

    assert not outcome.ok
    assert "The chart's accelerator does not select the nodes' labels" in " ".join(
        outcome.output.split()
    )


def _changed(workspace: Workspace, directory: str, right: str, wrong: str, command: str) -> Outcome:
    """Replaces every `right` in main.tf by `wrong`, and runs the command."""
    path = workspace.directory(directory) / "main.tf"
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    return workspace.terraform(directory, command)
