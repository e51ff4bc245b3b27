"""Rules over a plan: each returns a sentence for each thing that it refuses."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from plan_rules.facts import Facts, facts, permits, settings
from terraform_offline.plans import Plan

Evaluate = Callable[[str, Mapping[str, Any]], Any]
"""Evaluates a CEL expression with these variables."""

PROJECT_ROLES = ("google_project_iam_member", "google_project_iam_binding")


def missing_apis(plan: Plan, enabled: Collection[str], table: Facts | None = None) -> list[str]:
    """The APIs that a resource of the plan needs, and that the bootstrap doesn't enable."""
    table = table or facts()
    refused = []
    for resource in plan.resources:
        if not resource["type"].startswith("google_"):
            continue
        rows = [each for each in table.apis if each.resource == resource["type"]]
        if not rows:
            refused.append(f"{resource['address']}: facts.yaml doesn't say which API it needs")
        refused += [
            f"{resource['address']} needs {each.says} ({each.source})"
            for each in rows
            if each.says and each.says not in enabled and each.holds(resource["values"])
        ]
    return refused


def missing_node_roles(plan: Plan, roles: Collection[str]) -> list[str]:
    """The roles that the nodes' account needs for the plan's pools, and doesn't have."""
    pools = [each for each in plan.resources if each["type"] == "google_container_node_pool"]
    return [
        f"the account of {pool['address']} needs {each.says} ({each.source})"
        for pool in pools
        for each in facts().node_roles
        if each.says and each.says not in roles and each.holds(pool["values"])
    ]


def dead_settings(plan: Plan, provider: str) -> list[str]:
    """The settings that Google or this version of the provider has given up."""
    return [
        f"{resource['address']}: {fact.setting} = {fact.value} is dead ({fact.source})"
        for resource in plan.resources
        for fact in facts().dead
        if fact.resource == resource["type"]
        and fact.value in settings(resource["values"], fact.setting)
        and (not fact.since or _version(provider) >= _version(fact.since))
    ]


def unsold_machines(plan: Plan) -> list[str]:
    """The pools on demand of machines that exist as Spot capacity only."""
    spot_only = {each.says for each in facts().spot_only}
    return [
        f"{resource['address']}: {machine} is not sold on demand"
        for resource in plan.resources
        for node in settings(resource["values"], "node_config")
        for machine in settings(node, "machine_type")
        if machine in spot_only and not node.get("spot") and not node.get("flex_start")
    ]


def wide_roles(plan: Plan, spares: Iterable[str], evaluate: Evaluate) -> list[str]:
    """The roles on the whole project that escalate, custom ones included.

    A role with a condition counts only if its condition holds for one of ``spares``, names of
    resources that it must not reach.
    """
    refused = []
    custom = {
        each["values"]["role_id"]: each["values"]["permissions"]
        for each in plan.resources
        if each["type"] == "google_project_iam_custom_role"
    }
    for name, permissions in custom.items():
        refused += [f"the role {name} has {each}" for each in permits(permissions, _escalating())]
    for resource in plan.resources:
        role = resource["values"].get("role")
        if resource["type"] not in PROJECT_ROLES or role is None:
            continue  # the name of a custom role is known after the apply only
        if role not in facts().roles:
            refused.append(f"{resource['address']}: facts.yaml doesn't say what {role} permits")
            continue
        granted = permits(facts().roles[role], _escalating())
        if granted and _reaches(resource["values"], spares, evaluate):
            refused.append(f"{resource['address']}: {role} on the project has {granted[0]}")
    return refused


def _reaches(values: Mapping[str, Any], spares: Iterable[str], evaluate: Evaluate) -> bool:
    conditions = list(settings(values, "condition.expression"))
    if not conditions:
        return True
    variables = ({"resource": {"name": name}} for name in spares)
    return any(evaluate(condition, each) for each in variables for condition in conditions)


def _escalating() -> list[str]:
    return facts().escalating


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
