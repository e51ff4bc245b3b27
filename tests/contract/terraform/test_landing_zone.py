"""Prod in an organisation's landing zone: its network, its key, its policies, and its limits."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from plan_rules import organisation
from plan_rules.facts import facts
from terraform_offline.paths import ROOT
from terraform_offline.plans import Plan

KEY = "projects/security/locations/europe-west4/keyRings/team/cryptoKeys/diffusion"


def changed(plan: Plan, kind: str, path: str, value: Any) -> Plan:
    """A copy of the plan in which every resource of the kind has this value at the path."""
    return replace(
        plan,
        resources=[
            each | {"values": _with(each["values"], path, value)} if each["type"] == kind else each
            for each in plan.resources
        ],
    )


def _with(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    if not rest:
        return values | {name: value}
    inner = values.get(name) or {}
    one = inner[0] if isinstance(inner, list) and inner else inner or {}
    return values | {name: [_with(one, rest, value)]}


def key_users(bootstrap: Plan) -> set[str]:
    return {each["member"] for each in bootstrap.all_of("google_kms_crypto_key_iam_member")}


def test_the_network_is_the_landing_zones(landing_zone: Plan) -> None:
    assert not {kind for kind in landing_zone.types if kind.startswith("google_compute_")}
    (cluster,) = landing_zone.all_of("google_container_cluster")
    assert cluster["subnetwork"].endswith("/subnetworks/gke")
    assert cluster["ip_allocation_policy"][0]["cluster_secondary_range_name"] == "gke-pods"


def test_the_key_encrypts_whatever_holds_data(landing_zone: Plan, bootstrap: Plan) -> None:
    assert organisation.unencrypted(landing_zone, KEY) == []
    assert organisation.unencrypted(bootstrap, KEY) == []


@pytest.mark.parametrize("row", facts().encrypted, ids=lambda row: row["setting"])
def test_data_without_the_key_is_refused(
    landing_zone: Plan, bootstrap: Plan, row: dict[str, str]
) -> None:
    plan = bootstrap if row["resource"] in bootstrap.types else landing_zone
    assert organisation.unencrypted(changed(plan, row["resource"], row["setting"], None), KEY)
    assert organisation.unencrypted(changed(plan, row["resource"], row["setting"], "other"), KEY)


def test_googles_accounts_may_use_the_key(landing_zone: Plan, bootstrap: Plan) -> None:
    users = key_users(bootstrap)
    plans = (landing_zone, bootstrap)
    assert [organisation.agents_without_key(each, users) for each in plans] == [[], []]
    for user in users:
        assert any(organisation.agents_without_key(each, users - {user}) for each in plans), user


@pytest.mark.parametrize("name", ["prod", "landing_zone", "bootstrap"])
def test_no_policy_refuses_it(request: pytest.FixtureRequest, name: str) -> None:
    assert organisation.against_policies(request.getfixturevalue(name)) == []


@pytest.mark.parametrize(
    ("kind", "path", "value", "policy"),
    [
        ("google_container_node_pool", "network_config.enable_private_nodes", False, "ExternalIp"),
        (
            "google_container_node_pool",
            "node_config.shielded_instance_config.enable_secure_boot",
            False,
            "requireShieldedVm",
        ),
        ("google_compute_subnetwork", "log_config", None, "requireVpcFlowLogs"),
        ("google_storage_bucket", "uniform_bucket_level_access", False, "uniformBucketLevel"),
        ("google_storage_bucket", "public_access_prevention", "inherited", "publicAccess"),
    ],
)
def test_what_a_policy_refuses_is_refused_here(
    prod: Plan, kind: str, path: str, value: Any, policy: str
) -> None:
    refused = organisation.against_policies(changed(prod, kind, path, value))
    assert refused
    assert all(policy in each for each in refused)


@pytest.mark.parametrize("kind", ["google_service_account_key", "google_compute_network_peering"])
def test_what_a_policy_forbids_is_refused_here(prod: Plan, kind: str) -> None:
    more = {"address": f"{kind}.x", "type": kind, "values": {}}
    assert len(organisation.against_policies(replace(prod, resources=[more]))) == 1


def test_a_secret_that_leaves_the_region_is_refused(bootstrap: Plan) -> None:
    kind = "google_secret_manager_secret"
    (refused,) = organisation.against_policies(
        changed(bootstrap, kind, "replication.user_managed", None)
    )
    assert "gcp.resourceLocations" in refused


def test_the_guide_names_each_policy() -> None:
    text = (ROOT / "docs" / "gke.md").read_text()
    table = text[text.index("| constraint |") :].split("\n\n", 1)[0]
    named = re.findall(r"^\| `([\w.]+)`", table, re.MULTILINE)
    assert set(named) == {each["policy"] for each in facts().policies}


def test_settings_come_with_those_that_they_need(plan_of_each: Plan) -> None:
    assert organisation.missing_companions(plan_of_each) == []


@pytest.fixture(params=["prod", "landing_zone"])
def plan_of_each(request: pytest.FixtureRequest) -> Plan:
    plan: Plan = request.getfixturevalue(request.param)
    return plan


@pytest.mark.parametrize("row", facts().companions, ids=lambda row: row["needs"])
def test_a_setting_without_its_companion_is_refused(prod: Plan, row: dict[str, Any]) -> None:
    plan = changed(prod, row["resource"], row["setting"], row["value"])
    refused = organisation.missing_companions(changed(plan, row["resource"], row["needs"], "other"))
    assert any(row["needs"] in each for each in refused)


def test_a_budget_and_a_quota_are_counted_for_the_project(bootstrap: Plan) -> None:
    assert organisation.missing_quota_project(bootstrap) == []
    bare = replace(bootstrap, configuration={"provider_config": {"google": {}}})
    assert len(organisation.missing_quota_project(bare)) == len(facts().quota_project)


def test_spot_falls_back_to_capacity_on_demand(landing_zone: Plan) -> None:
    """The class lists both pools, and each has the class's label and taint."""
    (release,) = landing_zone.all_of("helm_release")
    values = yaml.safe_load(release["values"][0])
    pools = {each["name"]: each for each in landing_zone.all_of("google_container_node_pool")}
    assert values["computeClasses"] == {"gpu": ["gpu", "gpu-on-demand"]}
    assert [pools[name]["node_config"][0]["spot"] for name in ("gpu", "gpu-on-demand")] == [
        True,
        False,
    ]
    (labels,) = values["accelerators"]["nvidia-l4"]["nodeLabels"]
    for name in values["computeClasses"]["gpu"]:
        node = pools[name]["node_config"][0]
        assert labels.items() <= node["labels"].items()
        assert {each["key"] for each in node["taint"]} == {
            each["key"] for each in values["accelerators"]["nvidia-l4"]["tolerations"]
        }
