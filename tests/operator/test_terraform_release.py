"""The chart installs on a real API server with Terraform's values."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubectl import Kubectl
from managed_prometheus import served
from terraform_offline.paths import ROOT
from terraform_offline.plans import Plan
from terraform_offline.workspace import Workspace

RELEASE = "made-by-terraform"
OPERATOR = f"registry.example/diffusion-operator@sha256:{'1' * 64}"


@pytest.fixture
def values(tmp_path: Path) -> Path:
    """A file with the chart's values in prod's plan."""
    plan = Plan.of(
        Workspace.of_checkout(tmp_path),
        "environments/prod",
        project_id="team-diffusion-prod",
        region="europe-west4",
        zones=["europe-west4-a"],
        images={"operator": OPERATOR},
    )
    (release,) = plan.all_of("helm_release")
    file = tmp_path / "values.yaml"
    file.write_text(release["values"][0])
    return file


@pytest.fixture
def helm(control_plane: Kubectl) -> Iterator[list[str]]:
    """The start of a Helm command; the fixture uninstalls the release after the test."""
    tool = [sys.executable, "-m", "localcluster", "tool", "helm"]
    program = subprocess.run(tool, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    command = [program.stdout.strip(), f"--kubeconfig={control_plane.kubeconfig}"]
    with served(control_plane):
        yield command
        remove = ["uninstall", RELEASE, "--namespace", RELEASE, "--ignore-not-found"]
        subprocess.run([*command, *remove], check=True)
    control_plane("delete", "namespace", RELEASE, "--ignore-not-found", "--wait=false")


def test_the_chart_installs_with_terraforms_values(
    control_plane: Kubectl, helm: list[str], values: Path
) -> None:
    # The CRDs exist already, and belong to this tier's other tests.
    install = ["install", RELEASE, str(ROOT / "deploy" / "chart"), "--namespace", RELEASE]
    install += ["--create-namespace", "--values", str(values), "--set", "crds.install=false"]
    done = subprocess.run([*helm, *install], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    image = "jsonpath={.spec.template.spec.containers[0].image}"
    kubectl = control_plane.in_namespace(RELEASE)
    assert kubectl("get", "deployment", RELEASE, "--output", image) == OPERATOR
