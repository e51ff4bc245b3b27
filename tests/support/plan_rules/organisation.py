"""Rules of an organisation over a plan: keys, policies, and settings that need others.

Each returns a sentence for each thing that it refuses.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from plan_rules.facts import facts, settings
from terraform_offline.plans import Plan

Row = Mapping[str, Any]


def missing_companions(plan: Plan) -> list[str]:
    """The settings that work only beside another one, which has another value."""
    return [
        f"{resource['address']}: {row['setting']} needs {row['needs']} = {row['with']} "
        f"({row['source']})"
        for row, resource in _pairs(facts().companions, plan)
        if row["value"] in settings(resource["values"], row["setting"])
        and row["with"] not in settings(resource["values"], row["needs"])
    ]


def unencrypted(plan: Plan, key: str) -> list[str]:
    """The resources that hold data and do not name the key."""
    return [
        f"{resource['address']}: {row['setting']} is not the key ({row['source']})"
        for row, resource in _pairs(facts().encrypted, plan)
        if list(settings(resource["values"], row["setting"])) != [key]
    ]


def agents_without_key(plan: Plan, members: Collection[str]) -> list[str]:
    """The accounts of Google's that encrypt a resource of the plan and have no right to its key."""
    return [
        f"{row['agent']} encrypts {resource['address']} ({row['source']})"
        for row, resource in _pairs(facts().encrypted, plan)
        if any(settings(resource["values"], row["setting"]))
        and not any(f"@{row['agent']}.iam.gserviceaccount.com" in each for each in members)
    ]


def missing_quota_project(plan: Plan) -> list[str]:
    """The resources outside a project, if the provider names no project to count their calls."""
    provider = plan.configuration["provider_config"]["google"].get("expressions", {})
    overrides = provider.get("user_project_override", {}).get("constant_value") is True
    if overrides and "billing_project" in provider:
        return []
    return [
        f"{resource['address']} needs user_project_override and billing_project ({row['source']})"
        for row, resource in _pairs(facts().quota_project, plan)
    ]


def against_policies(plan: Plan) -> list[str]:
    """The resources that an organisation's policy would refuse."""
    rows = [each for each in facts().policies if "setting" in each]
    refused = [
        f"{resource['address']}: {row['policy']} refuses it by {row['setting']}"
        for row, resource in _pairs(rows, plan)
        if not _meets(row, resource["values"])
    ]
    forbidden = {each["forbids"]: each["policy"] for each in facts().policies if "forbids" in each}
    return refused + [
        f"{resource['address']}: {forbidden[resource['type']]} refuses it"
        for resource in plan.resources
        if resource["type"] in forbidden
    ]


def _meets(row: Row, values: Row) -> bool:
    at = list(settings(values, row["setting"]))
    return row["value"] in at if "value" in row else bool(at)


def _pairs(rows: Collection[Row], plan: Plan) -> Iterator[tuple[Row, Row]]:
    """Yields each row with each resource of its type."""
    for row in rows:
        for resource in plan.resources:
            if resource["type"] == row["resource"]:
                yield row, resource
