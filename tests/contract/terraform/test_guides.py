"""The guides' commands name existing folders, files, targets and variables; none is run."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec
from terraform_offline.paths import ROOT, TERRAFORM

GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("gke", "gitops", "cost")]
GUIDES += [TERRAFORM / "README.md"]
WORKFLOWS = ROOT / ".github" / "workflows"

_CONSOLE = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands(guide: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yields the words of each simple command of the guide, and the folder it runs in."""
    folder = ROOT
    for block in _CONSOLE.findall(guide.read_text()):
        for line in re.findall(r"^ *[$>] (.*)$", block.replace("\\\n", " "), re.MULTILINE):
            for command in re.split(r" && | \| |; do |; done", line):
                words = command.partition(" #")[0].split()
                if words[:1] == ["cd"]:
                    folder = (folder / words[1]).resolve()
                    assert folder.is_dir(), f"{guide.name}: {line}"
                elif words:
                    yield folder, words


@pytest.fixture(params=GUIDES, ids=lambda each: each.name)
def guide(request: pytest.FixtureRequest) -> Path:
    page: Path = request.param
    return page


def declared(folder: Path, kind: str) -> set[str]:
    text = "".join(each.read_text() for each in folder.glob("*.tf"))
    return set(re.findall(rf'^{kind} "(\w+)"', text, re.MULTILINE))


def test_a_link_leads_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", guide.read_text()):
        name, _, heading = target.partition("#")
        page = (guide.parent / name).resolve() if name else guide
        assert page.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^-\w ]", "", each.lower()).replace(" ", "-") for each in titles}
            assert heading in anchors, target


def test_a_file_that_a_command_reads_is_there(guide: Path) -> None:
    for folder, words in commands(guide):
        read = [
            after
            for word, after in pairwise(words)
            if word in {"-f", "-k", "python3"} and after not in {"-", "-c"}
        ]
        for name in read:
            assert (folder / name).exists(), f"{' '.join(words)}: no {name} in {folder}"


def test_terraform_commands_use_declared_names(guide: Path) -> None:
    """Variables, outputs and modules have the names that the command's folder declares."""
    for folder, words in commands(guide):
        command = " ".join(words)
        if "terraform " not in command:
            continue
        variables = set(re.findall(r"-var (\w+)=", command))
        assert variables <= declared(folder, "variable"), command
        outputs = set(re.findall(r"terraform output (?:-raw )?(\w+)", command))
        assert outputs <= declared(folder, "output"), command
        modules = set(re.findall(r"(?:-target=|state rm )module\.(\w+)", command))
        assert modules <= declared(folder, "module"), command


def test_a_make_target_is_there(guide: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for _, words in commands(guide):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), words
    for target in re.findall(r"`make ([-a-z]+)`", guide.read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_guide_sets_every_variable_that_the_workflows_read() -> None:
    text = (ROOT / "docs" / "gke.md").read_text()
    table = text[text.index("| GitHub variable |") :].split("\n\n", 1)[0]
    listed = set(
        re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    )
    read = {
        name
        for workflow in WORKFLOWS.glob("*.yaml")
        for name in re.findall(r"\bvars\.(\w+)", workflow.read_text())
    }
    assert listed == read
    outputs = set(re.findall(r"output `(\w+)`", table))
    assert outputs
    assert outputs <= declared(TERRAFORM / "bootstrap", "output")


@pytest.mark.parametrize("environment", ["prod", "test"])
def test_the_committed_inputs_are_complete_and_ci_resets_none(environment: str) -> None:
    """Every input that people set is code; CI gives only what follows from its run.

    A value that a workflow passed would reset what somebody has set by hand.
    """
    folder = TERRAFORM / "environments" / environment
    bodies = dict(
        re.findall(
            r'^variable "(\w+)" \{\n(.*?)^\}',
            (folder / "variables.tf").read_text(),
            re.MULTILINE | re.DOTALL,
        )
    )
    required = {name for name, body in bodies.items() if "  default" not in body}
    written = (folder / f"{environment}.auto.tfvars").read_text()
    committed = set(re.findall(r"^(\w+) +=", written, re.MULTILINE))
    of_a_run = {"images", "commit", "branch"}
    assert required <= committed | of_a_run
    if environment == "prod":
        by_hand = {"ranges", "tag", "protect"}  # one choice for ever, and the teardown's own
        assert set(bodies) == committed | (of_a_run & set(bodies)) | by_hand
    passed = {
        name
        for workflow in WORKFLOWS.glob("*.yaml")
        for name in re.findall(r'TF_VAR_(\w+):|-var "?(\w+)=', workflow.read_text())
    }
    assert {name for pair in passed for name in pair if name} <= of_a_run


def test_the_operator_accepts_the_services_in_the_guide() -> None:
    text = (ROOT / "docs" / "gke.md").read_text()
    written = re.findall(r"^(apiVersion: .*?)^(?:EOF|```)$", text, re.MULTILINE | re.DOTALL)
    objects = [each for block in written for each in yaml.safe_load_all(block)]
    services = [each for each in objects if each["kind"] == "DiffusionService"]
    assert len(services) == 2
    for service in services:
        DiffusionServiceSpec.model_validate(service["spec"])
