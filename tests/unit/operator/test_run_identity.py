"""Runs of a LoadTest: due time, admission, disturbances and history."""

import copy
from typing import Any

import pytest

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.kube.admission import ahead
from diffusion_operator.kube.objects import RUN_AT_ANNOTATION, Key
from diffusion_operator.loadtest.admission import occupies
from diffusion_operator.loadtest.analysis.history import history
from diffusion_operator.loadtest.analysis.run_identity import (
    RUN_IDENTITY,
    Run,
    RunIdentity,
    current_run,
    desired_identity,
    is_due,
    run_of,
)
from diffusion_operator.loadtest.analysis.target import Snapshot, disturbance, snapshot
from diffusion_operator.loadtest.specs.job import PlannedRun, job

Object = dict[str, Any]
NOW = "2026-01-02T03:10:00Z"


def status_of(run: Run, state: str, **more: Any) -> Object:
    return {
        "run": run.name,
        "specDigest": run.of.spec,
        "runAt": run.of.run_at,
        "state": state,
        "target": {"revision": run.of.revision},
        **more,
    }


def job_of(run: Run, *, role: str = "runner", conditions: Any = ()) -> Object:
    return {
        "metadata": {
            "labels": {"diffusion.dev/run": run.name, "diffusion.dev/role": role},
            "annotations": {RUN_IDENTITY: run.of.text()},
        },
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize(
    ("before", "now", "rerun", "due"),
    [
        (RunIdentity("a"), RunIdentity("a"), "OnSpecChange", False),
        (RunIdentity("a"), RunIdentity("b"), "OnSpecChange", True),
        (RunIdentity("a"), RunIdentity("b"), "OnTargetChange", True),
        (RunIdentity("a"), RunIdentity("b"), "Never", False),
        (RunIdentity("a"), RunIdentity("a", "now"), "Never", True),
        (RunIdentity("a", "now"), RunIdentity("a", "now"), "OnSpecChange", False),
        (
            RunIdentity("a", "now"),
            RunIdentity("a"),
            "OnSpecChange",
            False,
        ),  # the annotation was removed
        (RunIdentity("a", "", "r1"), RunIdentity("a", "", "r2"), "OnTargetChange", True),
        (RunIdentity("a", "", "r1"), RunIdentity("a", "", "r2"), "OnSpecChange", False),
        (
            RunIdentity("a", "", "r1"),
            RunIdentity("a"),
            "OnTargetChange",
            False,
        ),  # not known at the moment
    ],
)
def test_a_run_is_due_when_its_identity_has_changed(
    before: RunIdentity, now: RunIdentity, rerun: str, *, due: bool
) -> None:
    assert is_due(before, now, rerun) is due


def test_fields_that_do_not_change_the_load_do_not_change_the_identity(loadtest: Object) -> None:
    before = desired_identity(loadtest, "r1")
    loadtest["spec"] |= {"suspend": True, "rerun": "Never", "historyLimit": 1}
    loadtest["spec"]["baselineRef"] = {"name": "before"}
    assert desired_identity(loadtest, "r1") == before
    loadtest["spec"]["users"]["spawnRate"] = "3"
    assert desired_identity(loadtest, "r1").spec != before.spec
    loadtest["metadata"]["annotations"] = {RUN_AT_ANNOTATION: "now"}
    assert desired_identity(loadtest, "r1").run_at == "now"


def current(loadtest: Object, *jobs: Object, reported: str | None = None) -> Run:
    identity = desired_identity(loadtest, "")
    return current_run(loadtest, jobs, identity, rerun="OnSpecChange", reported=reported)


def test_a_new_test_gets_one_run_name_however_often_it_is_computed(loadtest: Object) -> None:
    assert current(loadtest) == current(loadtest)
    other = copy.deepcopy(loadtest)
    other["metadata"]["uid"] = "u-3"
    assert current(other).name != current(loadtest).name


def test_a_run_that_only_its_job_records_goes_on(loadtest: Object) -> None:
    run = Run("abc", desired_identity(loadtest, ""))
    # the generation grows when a test is suspended and resumed between two reconciles
    loadtest["metadata"]["generation"] = 2
    assert current(loadtest, job_of(run)) == run


def test_a_workers_job_is_no_run(loadtest: Object) -> None:
    run = Run("abc", desired_identity(loadtest, ""))
    assert current(loadtest, job_of(run, role="worker")).name != "abc"


def test_a_finished_run_is_the_current_one_until_another_is_due(loadtest: Object) -> None:
    run = Run("abc", desired_identity(loadtest, ""))
    loadtest["status"] = status_of(run, "Complete")
    assert current(loadtest, job_of(run), reported="abc") == run
    loadtest["spec"]["users"]["spawnRate"] = "3"
    second = current(loadtest, job_of(run), reported="abc")
    assert second.name != "abc"
    loadtest["status"] = status_of(second, "Complete")
    loadtest["metadata"]["annotations"] = {RUN_AT_ANNOTATION: "now"}
    assert current(loadtest).name not in {"abc", second.name}


@pytest.mark.parametrize("in_status", [True, False])
def test_a_report_that_no_status_shows_goes_before_a_new_run(
    loadtest: Object, *, in_status: bool
) -> None:
    run = Run("abc", desired_identity(loadtest, ""))
    if in_status:
        loadtest["status"] = status_of(run, "Running")
    loadtest["spec"]["users"]["spawnRate"] = "3"
    assert current(loadtest, job_of(run), reported="abc") == run
    assert current(loadtest, job_of(run)).name != "abc"


def key(name: str) -> Key:
    return Key("LoadTest", "shop", name)


def aged(name: str, age: int) -> Object:
    made = f"2026-01-02T03:04:{age:02}Z"
    return {"metadata": {"name": name, "creationTimestamp": made}}


@pytest.mark.parametrize(
    ("mine", "begun", "waiting", "limit", "admitted"),
    [
        ("b", [], [], 1, True),
        ("b", ["a"], [], 1, False),
        ("b", ["a"], [], 2, True),
        ("b", ["a", "c"], [], 2, False),
        ("b", [], ["a"], 1, False),  # a is older
        ("b", [], ["c"], 1, True),  # c is younger
        ("b", [], ["a"], 2, True),
        ("b", ["b"], [], 1, True),  # a test's own load does not block it
    ],
)
def test_the_oldest_test_that_waits_begins_if_the_limit_allows(
    mine: str, begun: list[str], waiting: list[str], limit: int, *, admitted: bool
) -> None:
    tests = {key(name): aged(name, age) for age, name in enumerate("abc")}
    tests_ahead = ahead(
        key(mine),
        tests,
        begun={key(name) for name in begun},
        waiting={key(name) for name in waiting},
        limit=limit,
    )
    assert (not tests_ahead) is admitted


def test_a_test_occupies_its_target_until_it_has_ended() -> None:
    run = Run("abc", RunIdentity("a"))
    ended = [{"type": "Complete", "status": "True"}]
    assert occupies({}, [job_of(run)])
    assert not occupies({}, [job_of(run, role="worker")])
    assert not occupies({}, [job_of(run, conditions=ended)])
    # the runner may stay up for its page, but generates no load then
    assert not occupies({"status": status_of(run, "Complete")}, [job_of(run)])
    assert occupies({"status": status_of(Run("old", RunIdentity("a")), "Complete")}, [job_of(run)])


def serving_pod(uid: str, *, revision: str = "r1", restarts: int = 0, **more: Any) -> Object:
    container = {"restartCount": restarts, "imageID": "fastapi@sha256:1", **more}
    return {
        "metadata": {
            "uid": uid,
            "name": uid,
            "labels": {"diffusion.dev/service": "demo", "diffusion.dev/revision": revision},
            "creationTimestamp": "2026-01-02T03:00:00Z",
        },
        "status": {"containerStatuses": [container]},
    }


@pytest.fixture
def target(service: Object) -> Object:
    return {**service, "status": {"revision": "r1"}}


@pytest.fixture
def before(target: Object) -> Snapshot:
    return snapshot(target, [serving_pod("p1"), serving_pod("p2")], 2)


def reason_of(before: Snapshot, target: Object | None, *pods: Object, **more: Any) -> str:
    replicas = more.pop("replicas", 2)
    change = disturbance(before, target, pods, replicas, until=more.pop("until", None), now=NOW)
    return change.reason if change else ""


def test_a_target_that_stays_as_it_is_disturbs_nothing(before: Snapshot, target: Object) -> None:
    runner = {"metadata": {"uid": "x", "name": "x", "labels": {"diffusion.dev/loadtest": "demo"}}}
    assert reason_of(before, target, serving_pod("p1"), serving_pod("p2"), runner) == ""
    assert Snapshot.model_validate_json(before.text()) == before
    assert before.image == "fastapi@sha256:1"


def test_each_change_of_a_target_has_its_reason(before: Snapshot, target: Object) -> None:
    one, two = serving_pod("p1"), serving_pod("p2")
    remade = {**target, "metadata": {**target["metadata"], "uid": "u-9"}}
    rolled = {**target, "status": {"revision": "r2"}}
    ended: Object = {"lastState": {"terminated": {"finishedAt": "2026-01-02T03:05:00Z"}}}
    assert reason_of(before, None) == "TargetDeleted"
    assert reason_of(before, remade, one, two) == "TargetDeleted"
    assert reason_of(before, rolled, one, two) == "TargetChanged"
    assert reason_of(before, target, one, two, serving_pod("p3", revision="r2")) == "TargetChanged"
    assert reason_of(before, target, one, two, replicas=3) == "TargetScaled"
    assert (
        reason_of(before, target, one, serving_pod("p2", restarts=1, **ended)) == "TargetRestarted"
    )
    assert reason_of(before, target, one, serving_pod("p3")) == "TargetRestarted"
    assert reason_of(before, target, one) == "TargetRestarted"


def test_changes_after_the_run_disturb_nothing(before: Snapshot, target: Object) -> None:
    long_ago = "2026-01-02T03:04:00Z"
    restarted = serving_pod(
        "p2", restarts=1, lastState={"terminated": {"finishedAt": "2026-01-02T03:05:00Z"}}
    )
    assert reason_of(before, target, serving_pod("p1"), restarted, until=long_ago) == ""
    assert reason_of(before, target, serving_pod("p1"), replicas=1, until=long_ago) == ""
    assert reason_of(before, None, until=long_ago) == ""
    in_time = "2026-01-02T03:06:00Z"
    assert (
        reason_of(before, target, serving_pod("p1"), restarted, until=in_time) == "TargetRestarted"
    )


def test_history_takes_in_an_ended_run_once_and_keeps_to_its_limit() -> None:
    conditions = [
        {"type": "Complete", "status": "True", "reason": "Finished"},
        {"type": "Valid", "status": "False", "reason": "ClientSaturated"},
        {"type": "SLOMet", "status": "True", "reason": "WithinSLO"},
    ]
    ended = status_of(Run("r1", RunIdentity("a")), "Complete", conditions=conditions)
    (entry,) = history(ended, "r2", 5)
    assert (entry.run, entry.state, entry.reason) == ("r1", "Complete", "Finished")
    assert (entry.valid, entry.slo_met) == ("False", "True")
    assert history(ended, "r1", 5) == ()
    assert history(ended, "r2", 0) == ()
    under_way = status_of(
        Run("r2", RunIdentity("a")), "Running", history=[entry.model_dump(by_alias=True)]
    )
    assert history(under_way, "r2", 5) == (entry,)
    assert history(under_way, "r3", 5) == (entry,)


def test_a_job_records_the_identity_of_its_run(loadtest: Object, settings: Any) -> None:
    run = Run("abc", RunIdentity("a", "now", "r1"))
    spec = LoadTestSpec.model_validate(loadtest["spec"])
    planned = PlannedRun(loadtest, spec, settings, run="abc", target_url="http://x", access="a")
    manifest = job(planned, {RUN_IDENTITY: run.of.text()})
    assert run_of(manifest) == run
