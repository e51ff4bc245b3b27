"""The workflows: right as far as can be told without GitHub, with no more rights than needed."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkers import actionlint, checkov

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yaml"))


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(actionlint()), "-no-color", *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def read(workflow: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    content: dict[str, Any] = yaml.safe_load(workflow.read_text())
    return content


def test_actionlint_finds_nothing() -> None:
    done = lint(*WORKFLOWS)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("needs: list", "needs: lists", "lists"),
        ("steps.build.outputs.digest", "steps.built.outputs.digest", '"built"'),
        ("matrix.image.name", "matrix.images.name", '"images"'),
        ("provenance: mode=max", "provenence: mode=max", "provenence"),
    ],
)
def test_a_mistake_is_found(tmp_path: Path, right: str, wrong: str, complaint: str) -> None:
    text = (FOLDER / "images.yaml").read_text()
    assert right in text
    broken = tmp_path / "images.yaml"
    broken.write_text(text.replace(right, wrong))
    done = lint(broken)
    assert done.returncode != 0
    assert complaint in done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda each: each.name)
def test_jobs_are_bounded_and_have_only_the_rights_they_name(workflow: Path) -> None:
    content = read(workflow)
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert "uses" in job or "timeout-minutes" in job, name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda each: each.name)
def test_no_workflow_runs_a_forks_code_with_rights(workflow: Path) -> None:
    assert "pull_request_target" not in workflow.read_text()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda each: each.name)
def test_what_others_wrote_never_becomes_shell(workflow: Path) -> None:
    for name, job in read(workflow)["jobs"].items():
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", ""), f"{name}: hand it over in env"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda each: each.name)
def test_no_long_lived_key_is_used(workflow: Path) -> None:
    secrets = set(re.findall(r"secrets\.(\w+)", workflow.read_text()))
    assert secrets <= {"GITHUB_TOKEN"}
    assert "credentials_json" not in workflow.read_text()


def test_the_test_environment_is_destroyed_whatever_happens() -> None:
    job = read(FOLDER / "test-environment.yaml")["jobs"]["destroy"]
    assert job["if"].startswith("always()")
    assert "compare" in job["needs"]
    assert job["steps"][-1]["run"] == "terraform destroy -auto-approve"


def test_images_come_with_sbom_and_provenance() -> None:
    steps = read(FOLDER / "images.yaml")["jobs"]["build"]["steps"]
    (build,) = [each["with"] for each in steps if "build-push" in each.get("uses", "")]
    assert build["sbom"] is True
    assert build["provenance"] == "mode=max"
    assert any("attest-build-provenance" in each.get("uses", "") for each in steps)


def test_every_image_is_built() -> None:
    """The step that lists them, run as GitHub would."""
    steps = read(FOLDER / "images.yaml")["jobs"]["list"]["steps"]
    (step,) = [each for each in steps if each.get("id") == "list"]
    done = subprocess.run(
        ["bash", "-euc", step["run"]],
        cwd=ROOT / step["working-directory"],
        env={"GITHUB_OUTPUT": "/dev/stdout", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    listed = json.loads(done.stdout.removeprefix("images="))
    dockerfile = (ROOT / "images" / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE))
    targets = {each["target"] for each in listed}
    assert {"operator", "loadtest", "fastapi"} <= targets <= stages


def test_checkov_finds_nothing() -> None:
    command = [str(checkov()), "--directory", str(FOLDER.parent), "--framework", "github_actions"]
    command += ["--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results = json.loads(done.stdout)["results"]
    assert len(results["passed_checks"]) > 20, "too few checks ran to show anything"
    assert [each["check_id"] for each in results["failed_checks"]] == []
