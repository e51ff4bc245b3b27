"""Disturbances of a LoadTest's target whose replicas its own autoscaling sets."""

import json
from typing import Any

import pytest

from diffusion_operator.api.loadtest import LoadTestSpec
from diffusion_operator.loadtest.analysis.target import Disturbance, Snapshot, disturbance, snapshot
from diffusion_operator.loadtest.specs.job import PlannedRun, job
from diffusion_operator.loadtest.status import _fingerprint
from diffusion_operator.settings import Settings

Object = dict[str, Any]
NOW = "2026-01-02T03:06:00Z"
BOUNDS = {"minReplicas": 1, "maxReplicas": 4}


def pod(uid: str, *, restarts: int = 0) -> Object:
    ended = {"terminated": {"finishedAt": "2026-01-02T03:05:00Z"}}
    container = {"restartCount": restarts, "lastState": ended if restarts else {}}
    return {
        "metadata": {
            "uid": uid,
            "name": uid,
            "labels": {"diffusion.dev/service": "demo", "diffusion.dev/revision": "r1"},
            "creationTimestamp": "2026-01-02T03:00:00Z",
        },
        "status": {"containerStatuses": [container]},
    }


def scaled(service: Object, **autoscaling: Any) -> Object:
    spec = {**service["spec"], "autoscaling": {**BOUNDS, **autoscaling}}
    return {**service, "spec": spec, "status": {"revision": "r1"}}


@pytest.fixture
def before(service: Object) -> Snapshot:
    return snapshot(scaled(service), [pod("p1"), pod("p2")], 2)


def seen(before: Snapshot, service: Object, replicas: int, *pods: Object) -> Disturbance | None:
    return disturbance(before, service, pods, replicas, until=None, now=NOW)


def test_replicas_that_come_and_go_are_what_the_run_measures(
    before: Snapshot, service: Object
) -> None:
    target = scaled(service)
    assert seen(before, target, 4, pod("p1"), pod("p2"), pod("p3"), pod("p4")) is None
    assert seen(before, target, 1, pod("p1")) is None
    assert seen(before, target, 2, pod("p1"), pod("p9")) is None


def test_change_of_the_autoscaling_is_a_disturbance(before: Snapshot, service: Object) -> None:
    other = seen(before, scaled(service, maxReplicas=8), 2, pod("p1"), pod("p2"))
    assert other is not None
    assert other.reason == "TargetScaled"
    assert "changed its autoscaling" in other.message
    without = {**service, "status": {"revision": "r1"}}
    gone = seen(before, without, 2, pod("p1"), pod("p2"))
    assert gone is not None
    assert gone.reason == "TargetScaled"


@pytest.mark.parametrize("replicas", [0, 5])
def test_replicas_beyond_the_bounds_are_not_the_autoscalers(
    before: Snapshot, service: Object, replicas: int
) -> None:
    pods = [pod(f"p{n}") for n in range(1, replicas + 1)]
    change = seen(before, scaled(service), replicas, *pods)
    assert change is not None
    assert (
        change.message == f"DiffusionService demo went from 2 replicas to {replicas} during the run"
    )


def test_restarts_stay_a_disturbance_of_old_and_of_new_pods(
    before: Snapshot, service: Object
) -> None:
    for pods in ((pod("p1", restarts=1), pod("p2")), (pod("p1"), pod("p2"), pod("p3", restarts=1))):
        change = seen(before, scaled(service), len(pods), *pods)
        assert change is not None
        assert change.reason == "TargetRestarted"


def test_replaced_pod_is_a_restart_where_the_bounds_allow_no_scaling(service: Object) -> None:
    fixed = scaled(service, minReplicas=2, maxReplicas=2)
    change = seen(snapshot(fixed, [pod("p1"), pod("p2")], 2), fixed, 2, pod("p1"), pod("p9"))
    assert change is not None
    assert change.reason == "TargetRestarted"


def test_run_that_an_older_operator_began_is_not_disturbed_by_its_upgrade(service: Object) -> None:
    old = Snapshot(uid=service["metadata"]["uid"], revision="r1", replicas=2, restarts={"p1": 0})
    text = json.loads(old.text())
    del text["autoscaling"]
    read = Snapshot.model_validate(text)
    assert seen(read, scaled(service), 2, pod("p1"), pod("p2")) is None


def test_runner_knows_that_replicas_may_come_and_go(loadtest: Object, settings: Settings) -> None:
    spec = LoadTestSpec.model_validate(loadtest["spec"])
    for is_autoscaled in (False, True):
        planned = PlannedRun(
            loadtest, spec, settings, "abc", "http://x", "a", is_autoscaled=is_autoscaled
        )
        (container,) = job(planned)["spec"]["template"]["spec"]["containers"]
        plan = json.loads(container["env"][0]["value"])
        assert plan["target"] == {"url": "http://x", "isAutoscaled": is_autoscaled}


def test_fingerprint_has_the_autoscaling_and_not_the_replicas_at_the_begin(
    before: Snapshot,
) -> None:
    facts = {"backend": "fastapi", "connections": "10s"}
    one, other = (_fingerprint(facts, before.model_copy(update={"replicas": n})) for n in (1, 3))
    assert one.digest == other.digest
    assert json.loads(one.facts["autoscaling"]) == BOUNDS
    wider = before.model_copy(update={"autoscaling": '{"maxReplicas": 9}'})
    assert _fingerprint(facts, wider).digest != one.digest
    always = _fingerprint({**facts, "connections": "Always"}, before)
    assert always.digest != one.digest
