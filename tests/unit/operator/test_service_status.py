"""A DiffusionService's status, computed from observed objects."""

import json
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, DiffusionServiceStatus
from diffusion_operator.diffusionservice.pod_counts import observe_pods, with_head
from diffusion_operator.diffusionservice.specs.deployment import (
    IN_PLACE,
    deployment,
    revision_of,
)
from diffusion_operator.diffusionservice.status import has_settled, service_status
from diffusion_operator.kube.pod_status import mount_failure
from diffusion_operator.kube.problems import Problem
from diffusion_operator.kube.workload import Workload
from diffusion_operator.settings import Settings

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"
BEFORE = "2025-01-01T00:00:00Z"


class Scene:
    """A service of two replicas, with its Deployment and its pods."""

    def __init__(self, service: Object, settings: Settings) -> None:
        self.service = service
        self.spec = DiffusionServiceSpec.model_validate(service["spec"])
        self.deployment: Object = deployment(service, self.spec, settings)
        self.deployment["metadata"]["generation"] = 1
        self.revision = revision_of(self.deployment)
        self.pods: list[Object] = []
        self.heads: list[Object] = []

    def counts(self, **counts: int) -> None:
        self.deployment["status"] = {"observedGeneration": 1, **counts}

    def pod(self, *, ready: bool = False, revision: str | None = None, **status: Any) -> Object:
        pod = {
            "metadata": {
                "name": f"demo-{len(self.pods)}",
                "uid": f"uid-{len(self.pods)}",
                "labels": {"diffusion.dev/revision": revision or self.revision},
                "creationTimestamp": BEFORE,
            },
            "spec": {"nodeName": "node"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
                **status,
            },
        }
        self.pods.append(pod)
        return pod

    def add_ended_pod(self, **terminated: Any) -> None:
        """Adds a pod whose container ended and waits for its restart."""
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        container = {"state": waiting, "lastState": {"terminated": terminated}, "ready": False}
        self.pod(containerStatuses=[container])

    def status(
        self, problem: Problem | None = None, *, readable: bool = True, made: bool = True
    ) -> DiffusionServiceStatus:
        pods = observe_pods(self.pods, self.revision)
        if self.heads:
            pods = with_head(pods, observe_pods(self.heads, self.revision))
        return service_status(
            self.service,
            self.spec if readable else None,
            precision="float32",
            workload=Workload.of_deployment(self.deployment) if made else None,
            pods=pods,
            problem=problem,
            now=NOW,
        )

    def condition(self, kind: str, problem: Problem | None = None) -> tuple[str, str]:
        conditions = {each.type: each for each in self.status(problem).conditions}
        return conditions[kind].status, conditions[kind].reason


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings)


ALL = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


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


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_pulled_is_named(scene: Scene, reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": "no such tag"}}
    scene.pod(containerStatuses=[{"image": "reg/x:1", "state": waiting, "ready": False}])
    assert scene.condition("Ready") == ("False", "ImagePullFailed")
    failure = scene.status().last_failure
    assert failure is not None
    assert "reg/x:1" in failure.message


def test_the_servers_termination_message_is_passed_on(scene: Scene) -> None:
    words = json.dumps({"reason": "ModelLoadFailed", "message": "no model_index.json in /m"})
    scene.add_ended_pod(exitCode=78, message=words, finishedAt=BEFORE)
    assert scene.condition("Ready") == ("False", "ModelLoadFailed")
    assert scene.condition("ModelLoaded") == ("False", "ModelLoadFailed")
    failure = scene.status().last_failure
    assert failure is not None
    assert (failure.exit_code, failure.time) == (78, BEFORE)
    assert failure.message == "no model_index.json in /m"


@pytest.mark.parametrize("words", ["", "Traceback…", '{"reason": "a b", "message": ""}', "[1]"])
def test_a_crash_without_a_usable_termination_message_points_at_the_logs(
    scene: Scene, words: str
) -> None:
    scene.add_ended_pod(exitCode=1, message=words, finishedAt=BEFORE)
    assert scene.condition("Ready") == ("False", "CrashLooping")


def test_a_model_that_cannot_be_fetched_is_reported_in_the_fetch_containers_words(
    scene: Scene,
) -> None:
    words = json.dumps({"reason": "DownloadFailed", "message": "403 for hf://owner/model"})
    ended = {"exitCode": 1, "message": words, "finishedAt": BEFORE}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    init = {"name": "model", "state": waiting, "lastState": {"terminated": ended}, "ready": False}
    server = {"name": "server", "state": {"waiting": {"reason": "PodInitializing"}}}
    scene.pod(initContainerStatuses=[init], containerStatuses=[server])
    assert scene.condition("Ready") == ("False", "DownloadFailed")
    assert scene.condition("ModelLoaded") == ("False", "DownloadFailed")


def test_a_model_that_was_fetched_is_no_failure(scene: Scene) -> None:
    done = {"name": "model", "state": {"terminated": {"exitCode": 0}}, "ready": True}
    scene.pod(initContainerStatuses=[done])
    assert scene.condition("Ready") == ("Unknown", "RollingOut")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('secret "hub" not found', "SecretNotFound"),
        ("couldn't find key token in Secret shop/hub", "SecretNotFound"),
        ('configmap "x" not found', "ConfigError"),
    ],
)
def test_a_secret_that_is_not_there_is_named(scene: Scene, message: str, reason: str) -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    scene.pod(initContainerStatuses=[{"name": "model", "state": waiting, "ready": False}])
    assert scene.condition("Ready") == ("False", reason)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('MountVolume.SetUp failed for volume "k" : secret "keys" not found', "SecretNotFound"),
        ("references non-existent secret key: api", "SecretNotFound"),
        ("timed out waiting for the condition", "MountFailed"),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_reported_from_the_kubelets_newest_event(
    scene: Scene, message: str, reason: str
) -> None:
    pod = scene.pod()
    about = {"involvedObject": {"uid": pod["metadata"]["uid"]}}
    newest = {**about, "message": message, "lastTimestamp": NOW}
    older = {**about, "message": "something else", "lastTimestamp": BEFORE}
    of_another = {**newest, "message": "its own", "involvedObject": {"uid": "another"}}
    failure = mount_failure(pod, [newest, older, of_another])
    assert failure is not None
    assert (failure.reason, failure.message) == (reason, message)
    assert mount_failure(pod, []) is None


def test_only_a_pod_of_which_no_container_has_begun_may_await_its_volumes(scene: Scene) -> None:
    creating = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    waits = scene.pod(containerStatuses=[creating])
    scene.pod(containerStatuses=[{"state": {"running": {}}}])
    scene.pod(containerStatuses=[creating])["spec"] = {}
    assert observe_pods(scene.pods, scene.revision).awaiting_volumes == (waits,)


@pytest.mark.parametrize("code", [0, 137, 143])
def test_a_server_that_the_kubelet_ended_failed_its_probes(scene: Scene, code: int) -> None:
    scene.add_ended_pod(exitCode=code, finishedAt=BEFORE)
    (pod,) = scene.pods
    pod["spec"]["containers"] = [{"name": "server", "livenessProbe": {}}]
    pod["status"]["containerStatuses"][0] |= {"name": "server", "restartCount": 1}
    assert scene.condition("Ready") == ("False", "ProbeFailed")


def test_running_out_of_memory_is_distinguished_from_a_crash(scene: Scene) -> None:
    scene.add_ended_pod(exitCode=137, reason="OOMKilled", finishedAt=BEFORE)
    assert scene.condition("Ready") == ("False", "OutOfMemory")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "InsufficientGPU"),
        ("1 node(s) didn't match Pod's node affinity/selector.", "NoMatchingNode"),
        ("0/1 nodes are available: 1 Insufficient cpu.", "Unschedulable"),
    ],
)
def test_the_reason_of_a_pod_without_a_node_tells_what_is_missing(
    scene: Scene, message: str, reason: str
) -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    pod = scene.pod()
    pod["spec"] = {}
    pod["status"]["conditions"] = [{**unscheduled, "message": message}]
    assert scene.condition("Ready") == ("False", reason)
    assert scene.condition("PodsScheduled") == ("False", "Unscheduled")


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
