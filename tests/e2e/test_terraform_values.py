"""The Helm release that Terraform would install on GKE, installed on the local cluster.

Only the input `images` differs from a plan for Google Cloud: it names the images of this cluster's
registry. All values of the release are those of Terraform's plan. The tests' own release is
uninstalled first, and installed again afterwards.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from in_cluster import Object
from install import Installed
from kubectl import Kubectl, eventually
from managed_prometheus import served
from terraform_offline.paths import ROOT, TERRAFORM
from terraform_offline.plans import Plan
from terraform_offline.workspace import Workspace

Helm = Callable[..., str]


@pytest.fixture(scope="module")
def helm(installed: Installed) -> Helm:
    """helm on the cluster, in the operator's namespace."""

    def run(*arguments: str) -> str:
        command = [installed.helm, f"--kubeconfig={installed.kubeconfig}"]
        command += [f"--namespace={installed.namespace}", *arguments]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    return run


@pytest.fixture(scope="module")
def own_values(installed: Installed, helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The values of the tests' own release."""
    file = tmp_path_factory.mktemp("own") / "values.yaml"
    file.write_text(helm("get", "values", installed.release, "--output", "yaml"))
    return file


@pytest.fixture(scope="module")
def release(own_values: Path, tmp_path_factory: pytest.TempPathFactory) -> Object:
    """The release in Terraform's plan for prod, with this cluster's images."""
    planned = Plan.of(
        Workspace.of_checkout(tmp_path_factory.mktemp("terraform")),
        "environments/prod",
        project_id="team-diffusion-prod",
        region="europe-west4",
        zones=["europe-west4-a"],
        images=yaml.safe_load(own_values.read_text())["images"],
    )
    (planned_release,) = planned.all_of("helm_release")
    return planned_release


@pytest.fixture(scope="module")
def values(release: Object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (written,) = release["values"]
    file = tmp_path_factory.mktemp("values") / "values.yaml"
    file.write_text(written)
    return file


@pytest.fixture(scope="module")
def replaced(
    cluster: Kubectl, helm: Helm, own_values: Path, release: Object, values: Path
) -> Iterator[None]:
    """Installs the operator as Terraform would, and the tests' own release afterwards."""

    def install(chart: Path, values: Path) -> None:
        helm("install", release["name"], str(chart), "--values", str(values), "--wait",
             f"--timeout={release['timeout']}s")  # fmt: skip

    helm("uninstall", release["name"], "--wait")
    try:
        with served(cluster):
            try:
                # The chart's path in the plan is relative to Terraform's directory.
                install(TERRAFORM / "environments" / "prod" / release["chart"], values)
                yield
            finally:
                helm("uninstall", release["name"], "--wait", "--ignore-not-found")
    finally:
        install(ROOT / "deploy" / "chart", own_values)


@pytest.mark.usefixtures("replaced")
def test_the_planned_release_runs_with_terraforms_values(
    cluster: Kubectl, installed: Installed, helm: Helm, release: Object, values: Path
) -> None:
    assert (release["name"], release["namespace"]) == (installed.release, installed.namespace)
    held = json.loads(helm("get", "values", release["name"], "--output", "json"))
    assert held == yaml.safe_load(values.read_text())

    deployment = cluster.in_namespace(release["namespace"]).get("deployment", release["name"])
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == held["images"]["operator"]
    assert container["resources"] == held["resources"]
    assert deployment["status"]["readyReplicas"] == deployment["spec"]["replicas"]


@pytest.mark.usefixtures("replaced")
def test_the_operator_that_terraform_installs_makes_a_services_children(kubectl: Kubectl) -> None:
    service = yaml.safe_load((ROOT / "examples" / "diffusionservice.yaml").read_text())
    kubectl.apply(service)
    name = service["metadata"]["name"]
    eventually(lambda: kubectl.find("deployment", name), within=60, what="the Deployment")
