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
KEY = "projects/security/locations/europe-west4/keyRings/team/cryptoKeys/diffusion"
LANDING_ZONE = {
    "existing_network": {
        "network": "projects/team-network/global/networks/shared",
        "subnetwork": "projects/team-network/regions/europe-west4/subnetworks/gke",
        "pods_range": "gke-pods",
        "services_range": "gke-services",
    },
    "kms_key": KEY,
    "secret_sync": True,
    "backup": {},
    "spot": True,
    "on_demand_fallback": True,
    "gpu_boot_disks": [{"image": "projects/team-diffusion-prod/global/images/serving"}],
}
"""Inputs of prod in an organisation, beside its others."""
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
def prods(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Plan]:
    """Prod by itself, and in an organisation's landing zone."""
    copy = workspace.copy(tmp_path_factory.mktemp("prod"))
    alone = Plan.of(copy, "environments/prod", **PROD)
    return alone, Plan.of(copy, "environments/prod", **PROD | LANDING_ZONE)


@pytest.fixture(scope="session")
def prod(prods: tuple[Plan, Plan]) -> Plan:
    return prods[0]


@pytest.fixture(scope="session")
def landing_zone(prods: tuple[Plan, Plan]) -> Plan:
    return prods[1]


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
        project_number="123456789012",
        region="europe-west4",
        budget={"billing_account": "012345-6789AB-CDEF01", "amount": 500},
        gpu_quota={"gpus": 3, "contact": "team@example.com"},
        kms_key=KEY,
        secrets={"hugging-face": ["diffusion/secret-sync"]},
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
