"""Reading of an audit log by the test of the operator's rights."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rights import Denial, Right, denied, done_by, granted, lacking, used

OPERATOR = "system:serviceaccount:here:operator"


def event(
    verb: str, code: int = 200, decision: str = "allow", user: str = OPERATOR, second: int = 1
) -> Any:
    return {
        "user": {"username": user},
        "verb": verb,
        "requestReceivedTimestamp": f"2026-01-01T00:00:{second:02}.000000Z",
        "objectRef": {"resource": "jobs", "apiGroup": "batch", "namespace": "one"},
        "responseStatus": {"code": code},
        "annotations": {"authorization.k8s.io/decision": decision},
    }


def test_rules_grant_each_verb_on_each_resource() -> None:
    rules = [{"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": ["get", "list"]}]
    assert granted(rules) == {
        Right("batch", resource, verb)
        for resource in ("jobs", "cronjobs")
        for verb in ("get", "list")
    }


def test_an_apply_that_creates_an_object_uses_two_rights() -> None:
    assert used([event("patch", 201)]) == {
        Right("batch", "jobs", "patch"),
        Right("batch", "jobs", "create"),
    }
    assert used([event("patch", 200)]) == {Right("batch", "jobs", "patch")}


def test_a_refusal_for_lack_of_a_right_is_distinguished_from_one_of_admission() -> None:
    lacking, refused = event("delete", 403, "forbid"), event("patch", 403)
    assert denied([lacking, refused]) == {Denial(Right("batch", "jobs", "delete"), "one")}
    assert used([lacking]) == set()


def test_a_right_that_nothing_used_is_found() -> None:
    rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "delete"]}]
    seen = [event("list"), event("delete", 403, "forbid")]
    assert granted(rules) - used(seen) == {Right("batch", "jobs", "delete")}


def test_a_refusal_of_a_right_that_no_role_grants_there_is_found() -> None:
    seen = [event(verb, 403, "forbid") for verb in ("get", "delete")]
    get, delete = Right("batch", "jobs", "get"), Right("batch", "jobs", "delete")
    assert lacking(seen, {get}, {}) == {Denial(delete, "one")}
    assert lacking(seen, {get}, {"another": {delete}}) == {Denial(delete, "one")}
    assert lacking(seen, {get}, {"one": {delete}}) == set()


def test_only_the_users_requests_for_resources_during_the_run_are_read(tmp_path: Path) -> None:
    probe = {"user": {"username": OPERATOR}, "verb": "get", "requestURI": "/api"}
    others = event("get", user=f"{OPERATOR}s-friend")
    earlier = event("delete", second=0)
    rotated, log = tmp_path / "audit-1.log", tmp_path / "audit.log"
    rotated.write_text(f"{json.dumps(earlier)}\n{json.dumps(event('get'))}\n")
    log.write_text("".join(json.dumps(line) + "\n" for line in (event("list"), probe, others)))
    with log.open("a") as file:
        file.write(json.dumps(event("watch"))[:-9])
    begun = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp()
    events = list(done_by(OPERATOR, [rotated, log], since=begun))
    assert events == [event("get"), event("list")]
