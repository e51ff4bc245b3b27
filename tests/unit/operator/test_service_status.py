"""A DiffusionService's status, computed from observed objects."""

from typing import Any

import pytest

from diffusion_operator.diffusionservice.pod_counts import observe_pods
from diffusion_operator.diffusionservice.specs.deployment import (
    IN_PLACE,
)
from diffusion_operator.diffusionservice.status import has_settled
from diffusion_operator.kube.problems import Problem
from diffusion_operator.kube.workload import Workload
from service_scene import ALL, BEFORE, NOW, Scene

Object = dict[str, Any]


def test_a_service_is_ready_when_every_replica_of_the_specs_revision_answers(scene: Scene) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)
    assert scene.condition("Ready") == ("True", "Serving")
    assert scene.condition("Progressing") == ("False", "UpToDate")
    assert scene.condition("ModelLoaded") == ("True", "Loaded")
    assert scene.status().revision == scene.revision


def test_during_a_rollout_ready_is_unknown_even_with_old_replicas_answering(
    scene: Scene,
) -> None:
    scene.counts(replicas=3, updatedReplicas=1, readyReplicas=2, availableReplicas=2)
    scene.pod(ready=True, revision="old")
    scene.pod(ready=True, revision="old")
    scene.pod()
    assert scene.condition("Ready") == ("Unknown", "RollingOut")
    assert scene.status().revision == "old"


def test_the_counts_of_an_older_deployment_generation_make_nothing_ready(scene: Scene) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)
    scene.deployment["metadata"]["generation"] = 2
    assert scene.condition("Ready") == ("Unknown", "RollingOut")


def test_a_surplus_replica_that_still_ends_keeps_the_service_from_being_ready(scene: Scene) -> None:
    scene.counts(**{**ALL, "replicas": 3})
    scene.pod(ready=True)
    scene.pod(ready=True)
    assert scene.condition("Ready")[0] == "Unknown"


def test_a_pod_that_is_being_deleted_does_not_count(scene: Scene) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)["metadata"]["deletionTimestamp"] = NOW
    assert scene.condition("Ready")[0] == "Unknown"


def test_a_service_of_zero_replicas_is_not_ready(scene: Scene) -> None:
    scene.spec = scene.spec.model_copy(update={"replicas": 0})
    scene.counts()
    assert scene.condition("Ready") == ("False", "ScaledToZero")


def test_a_quota_that_refuses_the_pods_is_distinguished_from_other_refusals(scene: Scene) -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    scene.deployment["status"] = {"conditions": [refused]}
    assert scene.condition("Ready") == ("False", "QuotaExceeded")
    refused["message"] = "violates PodSecurity"
    assert scene.condition("Ready") == ("False", "Forbidden")


def test_a_failing_new_revision_does_not_hide_that_the_old_one_answers(scene: Scene) -> None:
    scene.pod(ready=True, revision="old")
    scene.add_ended_pod(exitCode=1, finishedAt=BEFORE)
    ready = scene.status().conditions[0]
    assert ready.status == "False"
    assert "the previous revision still answers" in ready.message


def test_a_problem_with_the_spec_is_the_reason(scene: Scene) -> None:
    problem = Problem("UnknownAccelerator", "known: nvidia-l4")
    assert scene.condition("Ready", problem) == ("False", "UnknownAccelerator")


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("made", [True, False])
def test_all_conditions_exist_with_a_problem_too(scene: Scene, readable: bool, made: bool) -> None:
    status = scene.status(Problem("Refused", "no"), readable=readable, made=made)
    by_type = {each.type: each for each in status.conditions}
    assert set(by_type) == {"Ready", "Progressing", "PodsScheduled", "ModelLoaded", "Stopped"}
    assert all(each.reason and each.message for each in by_type.values())
    assert (by_type["Ready"].status, by_type["PodsScheduled"].status) == ("False", "Unknown")
    assert by_type["Stopped"].status == ("False" if readable else "Unknown")


def test_a_suspended_service_with_a_problem_is_stopped_where_nothing_makes_pods(
    scene: Scene,
) -> None:
    scene.spec = scene.spec.model_copy(update={"suspend": True})
    problem = Problem("UnknownAccelerator", "known: nvidia-l4")
    assert scene.condition("Stopped", problem) == ("Unknown", "UnknownAccelerator")
    scene.deployment["spec"]["replicas"] = 0
    assert scene.condition("Stopped", problem) == ("True", "Suspended")
    scene.pod(ready=True)
    assert scene.condition("Stopped", problem) == ("False", "UnknownAccelerator")


def test_a_long_message_of_the_api_server_is_cut(scene: Scene) -> None:
    (ready, *_) = scene.status(Problem("Refused", "x" * 40_000)).conditions
    assert len(ready.message) == 4096
    assert ready.message.endswith("x…")


def test_a_transition_time_moves_only_when_the_status_does(scene: Scene) -> None:
    scene.service["status"] = {
        "conditions": [
            {"type": "Ready", "status": "Unknown", "lastTransitionTime": BEFORE},
            {"type": "Progressing", "status": "False", "lastTransitionTime": BEFORE},
        ]
    }
    times = {each.type: each.last_transition_time for each in scene.status().conditions}
    assert (times["Ready"], times["Progressing"]) == (BEFORE, NOW)


def test_the_last_failure_is_remembered_after_its_pod_is_gone(scene: Scene) -> None:
    kept = {"pod": "demo-9", "reason": "OutOfMemory", "message": "too much", "exitCode": 137}
    scene.service["status"] = {"lastFailure": kept}
    failure = scene.status().last_failure
    assert failure is not None
    assert failure.reason == "OutOfMemory"


@pytest.mark.parametrize(
    ("head", "expected"), [(True, ("True", "Serving")), (False, ("False", "HeadLost"))]
)
def test_a_ray_cluster_answers_only_through_its_head(
    scene: Scene, head: bool, expected: tuple[str, str]
) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)
    scene.heads = [{**scene.pods[0], "status": scene.pods[0]["status"] if head else {}}]
    assert scene.condition("Ready") == expected
    assert "head" in scene.status().conditions[0].message


def test_a_suspended_service_is_stopped_once_its_pods_are_gone(scene: Scene) -> None:
    scene.spec = scene.spec.model_copy(update={"suspend": True})
    scene.pod(ready=True)["metadata"]["deletionTimestamp"] = NOW
    assert scene.condition("Ready") == ("False", "Suspended")
    assert scene.condition("Stopped") == ("False", "Stopping")
    scene.pods.clear()
    assert scene.condition("Stopped") == ("True", "Suspended")
    scene.spec = scene.spec.model_copy(update={"suspend": False})
    assert scene.condition("Stopped") == ("False", "Wanted")


def add_evicted_pod(scene: Scene, **more: Any) -> Object:
    """Adds a pod that its node has evicted: it stays for inspection, and another replaces it."""
    words = "The node was low on resource: memory."
    return scene.pod(phase="Failed", reason="Evicted", message=words, **more)


def test_a_pod_that_was_evicted_counts_for_nothing(scene: Scene) -> None:
    scene.spec = scene.spec.model_copy(update={"suspend": True})
    add_evicted_pod(scene)
    assert scene.condition("Stopped") == ("True", "Suspended")


def test_a_pod_that_was_evicted_is_no_failure_of_the_pods_that_start(scene: Scene) -> None:
    terminated = {"exitCode": 137, "reason": "Error", "finishedAt": BEFORE}
    add_evicted_pod(
        scene, containerStatuses=[{"ready": False, "state": {"terminated": terminated}}]
    )
    scene.pod()
    assert scene.condition("Ready") == ("Unknown", "RollingOut")
    assert "1 of 2 replicas are of this revision" in scene.status().conditions[1].message
    failure = scene.status().last_failure
    assert failure is not None
    assert (failure.reason, failure.message) == ("Evicted", "The node was low on resource: memory.")


def test_an_eviction_of_long_ago_does_not_hide_a_later_failure(scene: Scene) -> None:
    later = {"pod": "demo-9", "reason": "OutOfMemory", "message": "too much", "time": NOW}
    scene.service["status"] = {"lastFailure": later}
    add_evicted_pod(scene)
    failure = scene.status().last_failure
    assert failure is not None
    assert failure.reason == "OutOfMemory"


def test_every_condition_is_of_the_generation_it_was_computed_from(scene: Scene) -> None:
    assert {each.observed_generation for each in scene.status().conditions} == {3}


def test_the_reason_of_a_rollout_tells_whether_it_is_in_place_or_with_downtime(
    scene: Scene,
) -> None:
    scene.counts(replicas=2, updatedReplicas=1, readyReplicas=2, availableReplicas=2)
    scene.pod(ready=True, revision="old")
    scene.pod()
    assert scene.condition("Progressing") == ("True", "RollingOut")
    scene.deployment["spec"]["strategy"] = IN_PLACE
    assert scene.condition("Progressing") == ("True", "RollingOutInPlace")
    scene.spec = scene.spec.model_copy(update={"replicas": 1})
    assert scene.condition("Progressing") == ("True", "RollingOutWithDowntime")


def test_a_ray_cluster_that_gives_way_to_single_pods_is_down_meanwhile(scene: Scene) -> None:
    scene.counts(replicas=3, updatedReplicas=1, readyReplicas=2, availableReplicas=2)
    worker = scene.pod(ready=True, revision="old")
    scene.add_ended_pod(exitCode=1, finishedAt=BEFORE)
    assert scene.condition("Progressing") == ("True", "RollingOut")
    assert "still answers" in scene.status().conditions[0].message
    worker["metadata"]["labels"]["diffusion.dev/ray-worker"] = "demo"
    assert scene.condition("Progressing") == ("True", "RollingOutWithDowntime")
    assert "requests fail" in scene.status().conditions[1].message
    assert "still answers" not in scene.status().conditions[0].message
    scene.pods.remove(worker)
    scene.service["status"] = {"revision": "old"}
    assert "no pod of an earlier revision is left" in scene.status().conditions[1].message


def test_a_pod_that_waits_for_an_old_one_to_end_is_no_failure(scene: Scene) -> None:
    lacking = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    scene.deployment["spec"]["strategy"] = IN_PLACE
    scene.pod(ready=True, revision="old")["metadata"]["deletionTimestamp"] = NOW
    scene.pod(conditions=[{**lacking, "message": "1 Insufficient nvidia.com/gpu."}])
    assert scene.condition("Ready") == ("Unknown", "RollingOut")
    assert scene.status().last_failure is None
    del scene.pods[0]
    assert scene.condition("Ready") == ("False", "InsufficientGPU")


def test_a_start_has_settled_once_all_pods_exist_are_counted_and_were_scheduled_or_refused(
    scene: Scene,
) -> None:
    def settled() -> bool:
        live = Workload.of_deployment(scene.deployment)
        return has_settled(live, observe_pods(scene.pods, scene.revision))

    assert not settled()
    scene.pod()
    scene.counts(replicas=2)
    assert not settled()
    pod = scene.pod()
    assert settled()
    scene.counts(replicas=1)
    assert not settled()
    scene.counts(replicas=2)
    pod["spec"] = {}
    assert not settled()
    no_node = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": ""}
    pod["status"]["conditions"].append(no_node)
    assert settled()


@pytest.mark.parametrize(
    ("endpoints", "address", "ready"),
    [
        (2, "10.0.0.1", ("True", "Serving")),
        (1, "10.0.0.1", ("Unknown", "AwaitingEndpoints")),
        (0, "10.0.0.1", ("Unknown", "AwaitingEndpoints")),
        (None, "10.0.0.1", ("True", "Serving")),
        (0, "", ("True", "Serving")),  # no address that a Service could lead to
    ],
)
def test_a_service_is_ready_once_its_address_leads_to_its_replicas(
    scene: Scene, endpoints: int | None, address: str, ready: tuple[str, str]
) -> None:
    for _ in range(2):
        scene.pod(ready=True, podIP=address)
    scene.counts(replicas=2, updatedReplicas=2, readyReplicas=2, availableReplicas=2)
    scene.endpoints = endpoints
    assert scene.condition("Ready") == ready


def without_node(scene: Scene, since: str) -> None:
    pod = scene.pod()
    pod["spec"] = {}
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    words = "1 node(s) didn't match Pod's node affinity/selector."
    pod["status"]["conditions"] = [{**refused, "message": words, "lastTransitionTime": since}]


def test_a_node_that_an_autoscaler_may_still_add_is_no_failure_yet(scene: Scene) -> None:
    without_node(scene, "2026-01-02T02:54:06Z")
    assert scene.condition("Ready") == ("Unknown", "NoMatchingNode")
    scene.pods.clear()
    without_node(scene, "2026-01-02T02:54:05Z")
    assert scene.condition("Ready") == ("False", "NoMatchingNode")


def test_a_rollout_without_room_is_no_failure_while_the_old_replicas_answer(scene: Scene) -> None:
    scene.pod(ready=True, revision="old")
    without_node(scene, BEFORE)
    assert scene.condition("Ready") == ("Unknown", "NoMatchingNode")
    overdue = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    scene.deployment["status"] = {"observedGeneration": 1, "conditions": [overdue]}
    assert scene.condition("Ready") == ("False", "NoMatchingNode")
    scene.pods.pop()
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    scene.deployment["status"] = {"conditions": [refused]}
    assert scene.condition("Ready") == ("Unknown", "QuotaExceeded")
    scene.deployment["status"] = {"observedGeneration": 1, "conditions": [overdue, refused]}
    assert scene.condition("Ready") == ("False", "QuotaExceeded")


def test_a_scale_up_without_room_is_a_failure_once_no_node_has_come(scene: Scene) -> None:
    scene.pod(ready=True)
    without_node(scene, BEFORE)
    assert scene.condition("Ready") == ("False", "NoMatchingNode")


def test_a_pod_that_was_deleted_is_no_failure(scene: Scene) -> None:
    killed = {"state": {"terminated": {"exitCode": 137, "finishedAt": NOW}}, "name": "server"}
    pod = scene.pod(phase="Failed", containerStatuses=[killed])
    assert scene.status().last_failure is not None
    pod["metadata"]["deletionTimestamp"] = NOW
    assert scene.status().last_failure is None
