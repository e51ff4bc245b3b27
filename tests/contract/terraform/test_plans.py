"""Plans that create the environments from nothing."""

import ipaddress
from typing import Any

import pytest

from terraform_offline.plans import Plan
from terraform_offline.workspace import Workspace

PRIMITIVE_ROLES = {"roles/owner", "roles/editor", "roles/viewer"}
NAMES = ("name", "account_id", "repository_id")
"""The arguments that name a resource; a pool's name is unique only within its cluster."""


def names(plan: Plan) -> set[tuple[str, str, str]]:
    """Type, project and name of each planned resource with a name of its own."""
    named = set()
    for resource in plan.resources:
        if resource["type"] in {"google_container_node_pool", "helm_release"}:
            continue
        values = resource["values"]
        name = next((values[key] for key in NAMES if values.get(key)), None)
        if name:
            named.add((resource["type"], values.get("project", ""), name))
    return named


@pytest.fixture(params=["prod", "test", "bootstrap"])
def anything(request: pytest.FixtureRequest) -> Plan:
    """The plan of each root."""
    made: Plan | tuple[Plan, Plan] = request.getfixturevalue(
        "branches" if request.param == "test" else request.param
    )
    return made[0] if isinstance(made, tuple) else made


@pytest.fixture(params=["prod", "test"])
def plan(request: pytest.FixtureRequest) -> Plan:
    """The plan of each environment."""
    prod: Plan = request.getfixturevalue("prod")
    branches: tuple[Plan, Plan] = request.getfixturevalue("branches")
    return prod if request.param == "prod" else branches[0]


def test_no_node_has_a_public_address(plan: Plan) -> None:
    pools = plan.all_of("google_container_node_pool")
    assert len(pools) == 2
    assert all(each["network_config"][0]["enable_private_nodes"] for each in pools)
    (cluster,) = plan.all_of("google_container_cluster")
    assert cluster["private_cluster_config"][0]["enable_private_nodes"]


def test_no_key_is_made(anything: Plan) -> None:
    assert not {kind for kind in anything.types if kind.endswith("_key")}


def test_no_primitive_role_is_given(anything: Plan) -> None:
    roles = {each["values"]["role"] for each in anything.resources if "role" in each["values"]}
    assert roles
    assert not roles & PRIMITIVE_ROLES


def test_nobody_but_named_accounts_gets_a_role(anything: Plan) -> None:
    members = [
        each["values"].get("member") for each in anything.resources if "_iam_" in each["type"]
    ]
    assert members
    assert not {"allUsers", "allAuthenticatedUsers"} & set(members)


def test_the_test_environment_shares_nothing_with_prod(
    prod: Plan, branches: tuple[Plan, Plan]
) -> None:
    for branch in branches:
        assert not names(prod) & names(branch)
        projects = {project for _, project, _ in names(branch)} - {""}
        assert projects == {"team-diffusion-test"}
        assert "team-diffusion-prod" not in str(branch.resources)


def test_two_branches_share_nothing_but_the_project(branches: tuple[Plan, Plan]) -> None:
    one, other = (names(each) for each in branches)
    assert one
    assert not one & other


def test_the_networks_address_ranges_do_not_overlap(
    prod: Plan, branches: tuple[Plan, Plan]
) -> None:
    def ranges(plan: Plan) -> list[ipaddress.IPv4Network]:
        (subnetwork,) = plan.all_of("google_compute_subnetwork")
        secondary = [each["ip_cidr_range"] for each in subnetwork["secondary_ip_range"]]
        return [ipaddress.IPv4Network(each) for each in (subnetwork["ip_cidr_range"], *secondary)]

    assert not any(a.overlaps(b) for a in ranges(prod) for b in ranges(branches[0]))


def test_nothing_joins_the_networks(prod: Plan, branches: tuple[Plan, Plan]) -> None:
    for plan in (prod, *branches):
        assert not {kind for kind in plan.types if "peering" in kind or "shared_vpc" in kind}


def test_a_branchs_environment_can_be_destroyed_and_prod_not(
    prod: Plan, branches: tuple[Plan, Plan]
) -> None:
    for plan, protected in ((prod, True), (branches[0], False)):
        (cluster,) = plan.all_of("google_container_cluster")
        (bucket,) = plan.all_of("google_storage_bucket")
        assert cluster["deletion_protection"] is protected
        assert bucket["force_destroy"] is not protected


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"accelerator": "nvidia-h100-80gb"}, "A zone does not list this accelerator."),
        (
            {"ranges": {"nodes": "10.0.0.0/22", "pods": "10.0.0.0/16", "services": "10.1.0.0/20"}},
            "The ranges of nodes, pods and services overlap:",
        ),
        ({"project_id": ""}, "project_id must be the id of a Google Cloud project:"),
    ],
    ids=["a zone without the accelerator", "overlapping ranges", "an empty project"],
)
def test_bad_input_is_refused_with_a_sentence(
    broken: Workspace, inputs: tuple[str, dict[str, Any]], wrong: dict[str, Any], sentence: str
) -> None:
    environment, right = inputs
    with pytest.raises(AssertionError) as refused:
        Plan.of(broken, environment, **(right | wrong))
    message = " ".join(str(refused.value).split())
    assert "Invalid value for variable" in message
    assert sentence in message
