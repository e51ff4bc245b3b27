"""Rules over plans find nothing, and refuse the near relatives of each fault."""

import copy
import re
from dataclasses import replace
from typing import Any

import pytest

from plan_rules import rules
from plan_rules.cel import evaluate
from plan_rules.facts import settings
from terraform_offline.mirror import PROVIDERS
from terraform_offline.plans import Plan

GOOGLE = next(each.version for each in PROVIDERS if each.name == "google")
SPARES = [
    f"projects/_/buckets/{bucket}{path}"
    for bucket in ("team-diffusion-terraform", "team-diffusion-prod-bootstrap", "somebody-elses")
    for path in ("", "/objects/prod/default.tfstate")
]
"""Buckets and objects that CI must not reach by a role on the project."""


@pytest.fixture(params=["prod", "landing_zone", "test"])
def plan(request: pytest.FixtureRequest) -> Plan:
    """The plan of each environment, prod's also in a landing zone."""
    if request.param == "test":
        branches: tuple[Plan, Plan] = request.getfixturevalue("branches")
        return branches[0]
    prod: Plan = request.getfixturevalue(request.param)
    return prod


def enabled(bootstrap: Plan) -> set[str]:
    return {each["service"] for each in bootstrap.all_of("google_project_service")}


def node_roles(bootstrap: Plan) -> set[str]:
    """The roles on the project of the account that the bootstrap makes for nodes."""
    return {
        each["values"]["role"]
        for each in bootstrap.resources
        if each["address"].startswith('module.accounts.google_project_iam_member.role["nodes ')
    }


def changed(plan: Plan, kind: str, path: str, value: Any) -> Plan:
    """A copy of the plan in which the first resource of the kind has this value at the path."""
    resources = copy.deepcopy(plan.resources)
    at = next(each for each in resources if each["type"] == kind)["values"]
    *above, last = path.split(".")
    for name in above:
        at[name] = at.get(name) or [{}]
        at = at[name][0]
    at[last] = value
    return replace(plan, resources=resources)


def with_role(plan: Plan, role: str, **values: Any) -> Plan:
    """A copy of the plan with one more role on the project."""
    more = {
        "address": "google_project_iam_member.more",
        "type": "google_project_iam_member",
        "values": {"role": role, "condition": []} | values,
    }
    return replace(plan, resources=[*plan.resources, more])


def wide(plan: Plan) -> list[str]:
    return rules.wide_roles(plan, SPARES, evaluate)


def test_every_api_is_enabled(plan: Plan, bootstrap: Plan) -> None:
    assert rules.missing_apis(plan, enabled(bootstrap)) == []
    assert rules.missing_apis(bootstrap, enabled(bootstrap)) == []


def test_no_api_is_enabled_for_nothing(
    prods: tuple[Plan, Plan], bootstrap: Plan, branches: tuple[Plan, Plan]
) -> None:
    """Each API is needed: without it, the rule refuses a plan."""
    every = enabled(bootstrap)
    for api in every:
        plans = (*prods, bootstrap, branches[0])
        assert any(rules.missing_apis(each, every - {api}) for each in plans), api


@pytest.mark.parametrize(
    ("path", "value", "api"),
    [
        (
            "binary_authorization.evaluation_mode",
            "PROJECT_SINGLETON_POLICY_ENFORCE",
            "binaryauthorization",
        ),
        ("database_encryption.key_name", "key", "cloudkms"),
        ("secret_manager_config.enabled", True, "secretmanager"),
        ("secret_sync_config.enabled", True, "secretmanager"),
        ("addons_config.gke_backup_agent_config.enabled", True, "gkebackup"),
    ],
)
def test_a_setting_without_its_api_is_refused(
    prod: Plan, bootstrap: Plan, path: str, value: Any, api: str
) -> None:
    plan = changed(prod, "google_container_cluster", path, value)
    api = f"{api}.googleapis.com"
    (refused,) = rules.missing_apis(plan, enabled(bootstrap) - {api})
    assert api in refused


def test_a_resource_of_an_unknown_api_is_refused(prod: Plan, bootstrap: Plan) -> None:
    unknown = {"address": "google_x.y", "type": "google_x", "values": {}}
    plan = replace(prod, resources=[*prod.resources, unknown])
    assert rules.missing_apis(plan, enabled(bootstrap)) == [
        "google_x.y: facts.yaml doesn't say which API it needs"
    ]


def test_nodes_have_the_roles_that_their_pools_need(plan: Plan, bootstrap: Plan) -> None:
    roles = node_roles(bootstrap)
    assert rules.missing_node_roles(plan, roles) == []
    for each in roles:
        assert rules.missing_node_roles(plan, roles - {each}), f"{each} is of no use"


def test_nodes_run_as_the_bootstraps_account(plan: Plan) -> None:
    pools = plan.all_of("google_container_node_pool")
    (project,) = {each["project"] for each in pools}
    environment = "prod" if project.endswith("prod") else "test"
    assert {each["node_config"][0]["service_account"] for each in pools} == {
        f"{environment}-nodes@{project}.iam.gserviceaccount.com"
    }


def test_no_setting_is_dead(plan: Plan) -> None:
    assert rules.dead_settings(plan, GOOGLE) == []


@pytest.mark.parametrize("mode", ["VULNERABILITY_BASIC", "VULNERABILITY_ENTERPRISE"])
def test_a_dead_setting_is_refused(prod: Plan, mode: str) -> None:
    path = "security_posture_config.vulnerability_mode"
    plan = changed(prod, "google_container_cluster", path, mode)
    assert len(rules.dead_settings(plan, GOOGLE)) == 1


def test_the_next_provider_refuses_the_default_pools_removal(prod: Plan) -> None:
    (refused,) = rules.dead_settings(prod, "8.9.0")
    assert "remove_default_node_pool" in refused


def test_no_pool_is_of_machines_that_are_not_for_sale(plan: Plan) -> None:
    assert rules.unsold_machines(plan) == []
    kind = "google_container_node_pool"
    on_demand = changed(plan, kind, "node_config.machine_type", "a3-highgpu-2g")
    on_demand = changed(on_demand, kind, "node_config.spot", False)
    assert len(rules.unsold_machines(on_demand)) == 1
    assert rules.unsold_machines(changed(on_demand, kind, "node_config.spot", True)) == []


def test_gpu_nodes_get_googles_latest_driver(plan: Plan) -> None:
    """GKE's default driver is of an older branch than the images' CUDA needs."""
    drivers = {
        version
        for pool in plan.all_of("google_container_node_pool")
        for version in settings(
            pool, "node_config.guest_accelerator.gpu_driver_installation_config.gpu_driver_version"
        )
    }
    assert drivers == {"LATEST"}


def test_no_role_on_the_project_escalates(plan: Plan, bootstrap: Plan) -> None:
    assert wide(bootstrap) == []
    assert wide(plan) == []
    assert not {"google_service_account", *rules.PROJECT_ROLES} & plan.types


@pytest.mark.parametrize(
    ("role", "permission"),
    [
        ("roles/iam.serviceAccountAdmin", "iam.serviceAccounts"),
        ("roles/iam.serviceAccountUser", "iam.serviceAccounts"),
        ("roles/iam.serviceAccountTokenCreator", "iam.serviceAccounts"),
        ("roles/iam.securityAdmin", "setIamPolicy"),
        ("roles/resourcemanager.projectIamAdmin", "setIamPolicy"),
        ("roles/storage.admin", "storage"),
        ("roles/storage.objectViewer", "storage.objects"),
        ("roles/compute.admin", "compute.instances"),
        ("roles/editor", "resourcemanager"),
        ("roles/run.admin", "facts.yaml doesn't say"),
    ],
)
def test_another_role_too_wide_is_refused(bootstrap: Plan, role: str, permission: str) -> None:
    (refused,) = wide(with_role(bootstrap, role))
    assert permission in refused


@pytest.mark.parametrize(
    "expression",
    [
        "resource.name.startsWith('projects/_/buckets/team-diffusion')",
        "resource.name.startsWith('projects/_/buckets/')",
        "resource.name.endsWith('.tfstate')",
        "true",
    ],
)
def test_a_condition_that_reaches_the_state_is_refused(bootstrap: Plan, expression: str) -> None:
    role = with_role(bootstrap, "roles/storage.admin", condition=[{"expression": expression}])
    assert len(wide(role)) == 1


@pytest.mark.parametrize("permission", ["storage.buckets.setIamPolicy", "iam.roles.update"])
def test_a_custom_role_with_more_than_it_needs_is_refused(bootstrap: Plan, permission: str) -> None:
    kind = "google_project_iam_custom_role"
    (role,) = bootstrap.all_of(kind)
    more = [*role["permissions"], permission]
    assert wide(changed(bootstrap, kind, "permissions", more))


def test_ci_acts_on_two_accounts_and_on_no_other(bootstrap: Plan) -> None:
    """Grants of accounts name their account; only GitHub's jobs get tokens of CI's own."""
    grants = {
        each["name"]: each["values"]["role"]
        for each in bootstrap.resources
        if each["type"] == "google_service_account_iam_member"
    }
    assert grants == {
        "github": "roles/iam.workloadIdentityUser",
        "deploy_starts_nodes": "roles/iam.serviceAccountUser",
        "deploy_lists_model_readers": "roles/iam.serviceAccountAdmin",
    }
    calls = bootstrap.configuration["root_module"]["resources"]
    of = {
        each["name"]: each["expressions"]["service_account_id"]["references"][0]
        for each in calls
        if each["type"] == "google_service_account_iam_member"
    }
    assert set(of.values()) == {'module.accounts.names["nodes"]', 'module.accounts.names["models"]'}


def test_energy_and_metrics_have_a_source(plan: Plan) -> None:
    (cluster,) = plan.all_of("google_container_cluster")
    (monitoring,) = cluster["monitoring_config"]
    assert {"SYSTEM_COMPONENTS", "DCGM"} <= set(monitoring["enable_components"])
    assert monitoring["managed_prometheus"][0]["enabled"]


def test_the_release_changes_with_the_charts_files(plan: Plan) -> None:
    (release,) = plan.all_of("helm_release")
    assert re.fullmatch(r"Chart [0-9a-f]{16}", release["description"])
