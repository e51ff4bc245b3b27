"""The workflows are correct, as far as checks without GitHub can tell, and have few rights."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from checkers import actionlint, checkov, zizmor
from diffusion_operator.api.comparison import ComparisonSpec
from image_build.inputs import IMAGES
from kubectl_diffusion.__main__ import parser
from terraform_offline.workspace import ROOTS

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def kubectl() -> str:
    command = [sys.executable, "-m", "localcluster", "tool", "kubectl"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(actionlint()), "-no-color", *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def tagged(text: str) -> str:
    """The workflow with its actions by tag; actionlint knows the inputs of tagged actions only."""
    changed = re.sub(r"@[0-9a-f]{40} # (v\d+)\S*", r"@\1", text)
    assert changed != text
    return changed


def read(workflow: Path) -> dict[str, Any]:
    content: dict[Any, Any] = yaml.safe_load(workflow.read_text())
    # YAML 1.1 reads the key `on` as true.
    return content | {"on": content[True]}


def test_actionlint_finds_nothing() -> None:
    done = lint(*WORKFLOWS)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda each: each.name)
def test_actions_get_the_inputs_that_they_have(workflow: Path, tmp_path: Path) -> None:
    copy = tmp_path / workflow.name
    copy.write_text(tagged(workflow.read_text()))
    done = lint(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("needs: list", "needs: lists", "lists"),
        ("steps.build.outputs.digest", "steps.built.outputs.digest", '"built"'),
        ("needs.list.outputs.registry", "needs.list.outputs.host", '"host"'),
        ("provenance: mode=max", "provenence: mode=max", "provenence"),
    ],
)
def test_a_mistake_is_found(tmp_path: Path, right: str, wrong: str, complaint: str) -> None:
    text = (FOLDER / "images.yaml").read_text()
    assert right in text
    broken = tmp_path / "images.yaml"
    broken.write_text(tagged(text.replace(right, wrong)))
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
def test_no_expression_is_expanded_in_a_shell_script(workflow: Path) -> None:
    for name, job in read(workflow)["jobs"].items():
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", ""), f"{name}: pass the value in env"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda each: each.name)
def test_no_long_lived_key_is_used(workflow: Path) -> None:
    secrets = set(re.findall(r"secrets\.(\w+)", workflow.read_text()))
    assert secrets <= {"GITHUB_TOKEN"}
    assert "credentials_json" not in workflow.read_text()


def audit(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(zizmor()), "--offline", "--no-progress", "--format", "plain"]
    command += ["--config", ".github/zizmor.yml", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing() -> None:
    done = audit(FOLDER)
    assert done.returncode == 0, done.stdout
    assert "No findings" in done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        (r"@[0-9a-f]{40} # (v\d+)", r"@\1", "unpinned-uses"),
        ("with: {persist-credentials: false}", "", "artipacked"),
        ('"bucket=\\$STATE_BUCKET"', '"bucket=${{ github.head_ref }}"', "template-injection"),
        ("pull_request:", "pull_request_target:", "dangerous-triggers"),
    ],
)
def test_an_insecure_workflow_is_found(
    tmp_path: Path, right: str, wrong: str, finding: str
) -> None:
    text = (FOLDER / "deploy.yaml").read_text()
    changed = re.sub(right, wrong, text)
    assert changed != text
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "deploy.yaml").write_text(changed)
    done = audit(folder)
    assert done.returncode != 0
    assert finding in done.stdout


def test_the_test_environment_is_destroyed_whatever_happens() -> None:
    job = read(FOLDER / "test-environment.yaml")["jobs"]["destroy"]
    assert job["if"].startswith("always()")
    assert "compare" in job["needs"]
    assert job["uses"] == "./.github/workflows/destroy-test.yaml"


def test_what_is_left_over_is_reaped_within_a_working_day() -> None:
    content = read(FOLDER / "reap.yaml")
    run = read(FOLDER / "test-environment.yaml")["jobs"]["compare"]["timeout-minutes"] / 60
    assert run < int(content["env"]["HOURS"]) <= 8
    minute, *others = content["on"]["schedule"][0]["cron"].split()
    assert minute.isdecimal()
    assert others == ["*"] * 4, "every hour"


def test_the_comparison_is_the_example_on_a_gpu_of_the_catalogue(kubectl: str) -> None:
    """Runs the step's own patch of the example with the pinned kubectl."""
    steps = read(FOLDER / "test-environment.yaml")["jobs"]["compare"]["steps"]
    (step,) = [each for each in steps if "comparison.yaml" in each.get("run", "")]
    command, _ = step["run"].split("|", 1)
    done = subprocess.run(
        ["bash", "-euc", command.replace("kubectl", kubectl, 1).replace("\\", "")],
        cwd=ROOT,
        env=step["env"],
        capture_output=True,
        text=True,
        check=True,
    )
    compared = yaml.safe_load(done.stdout)
    spec = ComparisonSpec.model_validate(compared["spec"])
    values = yaml.safe_load((ROOT / "deploy" / "chart" / "values.yaml").read_text())
    assert spec.service.gpu is not None
    assert spec.service.gpu.type in values["accelerators"]
    example = yaml.safe_load((ROOT / "examples" / "comparison.yaml").read_text())
    studies = (ROOT / "examples" / "comparison-study-l4.yaml").read_text()
    study = next(yaml.safe_load_all(studies))
    # A GPU measures the study's model; the demo model would leave it idle.
    for name in ("model", "generation"):
        assert compared["spec"]["service"][name] == study["spec"]["service"][name]
    assert set(compared["spec"]["service"]) == {"gpu", "model", "generation"}
    del compared["spec"]["service"], example["spec"]["service"]
    assert compared["spec"] == example["spec"]


def test_the_plugin_accepts_the_arguments_of_the_report_step() -> None:
    steps = read(FOLDER / "test-environment.yaml")["jobs"]["compare"]["steps"]
    (step,) = [each["run"] for each in steps if "kubectl_diffusion" in each.get("run", "")]
    _, _, arguments = step.partition("-m kubectl_diffusion ")
    words = arguments.splitlines()[0].replace("$comparison", "frameworks").replace('"', "").split()
    options = parser().parse_args(words)
    assert (options.command, options.test) == ("report", "cmp/frameworks")
    assert str(options.output) == "report/frameworks.html"


def test_images_come_with_sbom_and_provenance() -> None:
    steps = read(FOLDER / "images.yaml")["jobs"]["build"]["steps"]
    (build,) = [each["with"] for each in steps if "build-push" in each.get("uses", "")]
    assert build["sbom"] is True
    assert build["provenance"] == "mode=max"
    assert any("attest-build-provenance" in each.get("uses", "") for each in steps)


def test_every_image_is_a_target_of_the_dockerfile() -> None:
    dockerfile = (ROOT / "images" / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.MULTILINE))
    assert {image.target for image in IMAGES} <= stages


def test_the_providers_checksums_are_checked_in_every_root() -> None:
    job = read(FOLDER / "test.yaml")["jobs"]["terraform"]
    (step,) = [each["run"] for each in job["steps"] if "providers lock" in each.get("run", "")]
    assert all(f" {root}" in step for root in ROOTS)


def test_checkov_finds_nothing() -> None:
    command = [str(checkov()), "--directory", str(FOLDER.parent), "--framework", "github_actions"]
    command += ["--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results = json.loads(done.stdout)["results"]
    assert len(results["passed_checks"]) > 20, "too few checks ran to show anything"
    assert [each["check_id"] for each in results["failed_checks"]] == []
