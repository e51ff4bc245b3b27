"""Terraform's release fits the chart: real Helm renders it with Terraform's values."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from terraform_offline.paths import ROOT
from terraform_offline.plans import Plan
from terraform_offline.workspace import Workspace

CHART = ROOT / "deploy" / "chart"


@pytest.fixture(scope="session")
def helm() -> str:
    command = [sys.executable, "-m", "localcluster", "tool", "helm"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def render(helm: str, values: Path) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", "diffusion-operator", str(CHART), "--values", str(values)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_values_pass_the_charts_schema(helm: str, values: Path) -> None:
    done = render(helm, values)
    assert done.returncode == 0, done.stderr


def test_the_schema_is_enforced(helm: str, values: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "values.yaml"
    wrong.write_text(f"{values.read_text()}\nno_such_value: true\n")
    done = render(helm, wrong)
    assert done.returncode != 0
    assert "no_such_value" in done.stderr


def test_the_release_runs_the_images_that_terraform_was_given(helm: str, values: Path) -> None:
    objects = [each for each in yaml.safe_load_all(render(helm, values).stdout) if each]
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    images = [each["image"] for each in deployment["spec"]["template"]["spec"]["containers"]]
    assert images == [f"registry.example/diffusion-operator@sha256:{'1' * 64}"]
    settings = next(each for each in objects if each["kind"] == "ConfigMap")
    assert f"diffusion-fastapi@sha256:{'3' * 64}" in settings["data"]["settings.json"]


def test_the_planned_gpu_nodes_are_what_the_charts_catalogue_selects(prod: Plan) -> None:
    catalogue = yaml.safe_load((CHART / "values.yaml").read_text())["accelerators"]["nvidia-l4"]
    assert prod.outputs["gpu_node_labels"] in catalogue["nodeLabels"]
    tolerated = {(each["key"], each["effect"]) for each in catalogue["tolerations"]}
    assert {(each["key"], each["effect"]) for each in prod.outputs["gpu_node_taints"]} <= tolerated


@pytest.mark.parametrize("file", ["templates/NOTES.txt", "files/crds/loadtests.yaml"])
def test_a_change_of_the_charts_files_alone_is_a_change_of_the_release(
    prod: Plan, broken: Workspace, file: str
) -> None:
    """The provider compares the release's arguments and the chart's version, but no file."""
    broken.folder.joinpath("deploy").unlink()
    shutil.copytree(ROOT / "deploy" / "chart", broken.folder / "deploy" / "chart")
    with (broken.folder / "deploy" / "chart" / file).open("a") as text:
        text.write("\n# changed\n")

    plan = Plan.of(broken, "modules/operator", registry="registry.example/images")

    (before,), (after,) = prod.all_of("helm_release"), plan.all_of("helm_release")
    assert after["description"] != before["description"]
