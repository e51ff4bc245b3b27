"""Terraform in copies of the configuration; the checkout itself stays unchanged."""

from pathlib import Path
from typing import Any

import pytest

from terraform_offline.plans import Plan
from terraform_offline.workspace import CHECK, DIRECTORIES, Workspace

COMMON = {"region": "europe-west4"}
PROD = COMMON | {
    "project_id": "team-diffusion-prod",
    "zones": ["europe-west4-a", "europe-west4-b"],
    "images": {
        "operator": f"registry.example/diffusion-operator@sha256:{'1' * 64}",
        "loadtest": f"registry.example/diffusion-loadtest@sha256:{'2' * 64}",
        "backends": {"fastapi": f"registry.example/diffusion-fastapi@sha256:{'3' * 64}"},
    },
}
TEST = COMMON | {
    "project_id": "team-diffusion-test",
    "prod_project_id": PROD["project_id"],
    "zone": "europe-west4-a",
}
INPUTS = {"environments/prod": PROD, "environments/test": TEST | {"branch": "feature"}}
"""Sufficient inputs of each environment."""


def pytest_report_header() -> str:
    return f"terraform: checked against {CHECK}"


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the configuration in which every directory is initialised."""
    made = Workspace.of_checkout(tmp_path_factory.mktemp("terraform"))
    for directory in DIRECTORIES:
        outcome = made.init(directory)
        assert outcome.ok, outcome.output
    return made


@pytest.fixture
def broken(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the initialised configuration, for the test to break."""
    return workspace.copy(tmp_path / "copy")


@pytest.fixture(scope="session")
def prod(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Plan.of(workspace.copy(tmp_path_factory.mktemp("prod")), "environments/prod", **PROD)


@pytest.fixture(scope="session")
def branches(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan]:
    """The test environments of two branches."""
    copy = workspace.copy(tmp_path_factory.mktemp("test"))
    one = Plan.of(copy, "environments/test", branch="feature/faster-vae", **TEST)
    return one, Plan.of(copy, "environments/test", branch="feature/faster-unet", **TEST)


@pytest.fixture(scope="session")
def bootstrap(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Plan.of(
        workspace.copy(tmp_path_factory.mktemp("bootstrap")),
        "bootstrap",
        project_id=PROD["project_id"],
        environment="prod",
        github={"repository_id": "456789", "owner_id": "123456"},
        state_bucket="team-diffusion-terraform",
    )


@pytest.fixture(params=INPUTS)
def inputs(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each environment with sufficient inputs."""
    return request.param, INPUTS[request.param]


@pytest.fixture(scope="session")
def values(prod: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the values that Terraform gives the chart."""
    (release,) = prod.all_of("helm_release")
    file = tmp_path_factory.mktemp("values") / "values.yaml"
    file.write_text("\n---\n".join(release["values"]))
    return file
