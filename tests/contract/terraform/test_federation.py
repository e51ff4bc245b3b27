"""GitHub's tokens, exchanged as Google would: conditions and mappings run as CEL."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from plan_rules.cel import evaluate_all
from terraform_offline.plans import Plan

TABLE = yaml.safe_load((Path(__file__).parent / "github_tokens.yaml").read_text())["tokens"]
LONGEST_SUBJECT = 127
"""Bytes of google.subject, by cloud.google.com/iam/docs/workload-identity-federation."""


def provider(plan: Plan) -> dict[str, Any]:
    (one,) = plan.all_of("google_iam_workload_identity_pool_provider")
    return one


def bound(plan: Plan) -> dict[str, str]:
    """The account that each value of the attribute `job` acts as."""
    members = [
        each
        for each in plan.resources
        if each["type"] == "google_service_account_iam_member" and each["name"] == "github"
    ]
    jobs = {each["index"] for each in members}
    return {job: "plan" if job.startswith("event:") else "deploy" for job in jobs}


def accounts(
    provider: Mapping[str, Any], jobs: Mapping[str, str], tokens: Sequence[Mapping[str, Any]]
) -> list[str | None]:
    """The account that each token may act as, or None."""
    condition = provider["attribute_condition"]
    mapping = provider["attribute_mapping"]["attribute.job"]
    variables = [{"assertion": each["claims"]} for each in tokens]
    admitted = evaluate_all([(condition, each) for each in variables])
    mapped = evaluate_all([(mapping, each) for each in variables])
    return [
        jobs.get(job) if accepted is True else None
        for accepted, job in zip(admitted, mapped, strict=True)
    ]


def wrong(provider: Mapping[str, Any], jobs: Mapping[str, str]) -> list[str]:
    """The cases of the table whose token acts as another account than it may."""
    acting = accounts(provider, jobs, TABLE)
    return [
        each["case"]
        for each, account in zip(TABLE, acting, strict=True)
        if account != each.get("acts_as")
    ]


def test_each_token_acts_as_the_account_that_it_may(bootstrap: Plan) -> None:
    jobs = bound(bootstrap)
    assert set(jobs) == {"environment:prod", "event:pull_request", "event:push"}
    assert wrong(provider(bootstrap), jobs) == []


def test_a_subject_is_never_too_long(bootstrap: Plan) -> None:
    """A branch's name may have 255 bytes, and stands in GitHub's own subject."""
    mapping = provider(bootstrap)["attribute_mapping"]["google.subject"]
    ids = {"repository_id": "9" * 12, "run_id": "9" * 14}
    claims = ids | {"sub": f"repo:octocat@1/diffusion@2:ref:refs/heads/{'x' * 255}"}
    (subject,) = evaluate_all([(mapping, {"assertion": claims})])
    assert 0 < len(subject) <= LONGEST_SUBJECT


@pytest.mark.parametrize(
    ("part", "instead", "case"),
    [
        (" && assertion.repository_owner_id == '123456'", "", "the repository, moved"),
        ("assertion.repository_id == '456789' && ", "", "a fork of the owner"),
        (" && assertion.ref == 'refs/heads/main'", "", "prod from a branch"),
        (
            "assertion.ref == 'refs/heads/main'",
            "assertion.ref.startsWith('refs/heads/main')",
            "prod from a branch whose name begins as main's",
        ),
        (
            "assertion.repository_id == '456789'",
            "assertion.sub.startsWith('repo:octocat/diffusion:')",
            "prod from main, of a repository made since mid-2026",
        ),
    ],
)
def test_a_wider_or_narrower_condition_is_refused(
    bootstrap: Plan, part: str, instead: str, case: str
) -> None:
    changed = copy.deepcopy(provider(bootstrap))
    condition = changed["attribute_condition"]
    assert part in condition
    changed["attribute_condition"] = condition.replace(part, instead)
    assert any(each.startswith(case) for each in wrong(changed, bound(bootstrap)))
