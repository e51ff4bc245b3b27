"""What a DiffusionService's status says of what is observed."""

import json
from typing import Any

import pytest

from diffusion_operator.api.diffusionservice import DiffusionServiceSpec, DiffusionServiceStatus
from diffusion_operator.diffusionservice.pods import observe_pods, with_head
from diffusion_operator.diffusionservice.specs.deployment import (
    IN_PLACE,
    deployment,
    revision_of,
)
from diffusion_operator.diffusionservice.status import has_settled, service_status
from diffusion_operator.kube.pods import mount_failure
from diffusion_operator.kube.problems import Problem
from diffusion_operator.kube.workload import Workload
from diffusion_operator.settings import Settings

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"
BEFORE = "2025-01-01T00:00:00Z"


class Scene:
    """A service of two replicas, its live Deployment, and pods to put beside it."""

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

    def ended(self, **terminated: Any) -> None:
        """A pod whose container ended and waits to be started again."""
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

    def said(self, kind: str, problem: Problem | None = None) -> tuple[str, str]:
        conditions = {found.type: found for found in self.status(problem).conditions}
        return conditions[kind].status, conditions[kind].reason


@pytest.fixture
def scene(service: Object, settings: Settings) -> Scene:
    return Scene(service, settings)


ALL = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}


def test_it_is_ready_when_every_replica_of_the_specs_revision_answers(scene: Scene) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)
    assert scene.said("Ready") == ("True", "Serving")
    assert scene.said("Progressing") == ("False", "UpToDate")
    assert scene.said("ModelLoaded") == ("True", "Loaded")
    assert scene.status().revision == scene.revision


def test_while_it_rolls_out_ready_is_unknown_even_with_old_replicas_answering(
    scene: Scene,
) -> None:
    scene.counts(replicas=3, updatedReplicas=1, readyReplicas=2, availableReplicas=2)
    scene.pod(ready=True, revision="old")
    scene.pod(ready=True, revision="old")
    scene.pod()
    assert scene.said("Ready") == ("Unknown", "RollingOut")
    assert scene.status().revision == "old"


def test_the_counts_of_an_older_deployment_generation_make_nothing_ready(scene: Scene) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)
    scene.deployment["metadata"]["generation"] = 2
    assert scene.said("Ready") == ("Unknown", "RollingOut")


def test_a_surplus_replica_that_still_ends_keeps_it_from_being_ready(scene: Scene) -> None:
    scene.counts(**{**ALL, "replicas": 3})
    scene.pod(ready=True)
    scene.pod(ready=True)
    assert scene.said("Ready")[0] == "Unknown"


def test_a_pod_that_is_being_deleted_does_not_count(scene: Scene) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)["metadata"]["deletionTimestamp"] = NOW
    assert scene.said("Ready")[0] == "Unknown"


def test_zero_replicas_are_said_to_answer_nothing(scene: Scene) -> None:
    scene.spec = scene.spec.model_copy(update={"replicas": 0})
    scene.counts()
    assert scene.said("Ready") == ("False", "ScaledToZero")


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_pulled_is_named(scene: Scene, reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": "no such tag"}}
    scene.pod(containerStatuses=[{"image": "reg/x:1", "state": waiting, "ready": False}])
    assert scene.said("Ready") == ("False", "ImagePullFailed")
    failure = scene.status().last_failure
    assert failure is not None
    assert "reg/x:1" in failure.message


def test_what_the_server_left_as_its_last_words_is_passed_on(scene: Scene) -> None:
    words = json.dumps({"reason": "ModelLoadFailed", "message": "no model_index.json in /m"})
    scene.ended(exitCode=78, message=words, finishedAt=BEFORE)
    assert scene.said("Ready") == ("False", "ModelLoadFailed")
    assert scene.said("ModelLoaded") == ("False", "ModelLoadFailed")
    failure = scene.status().last_failure
    assert failure is not None
    assert (failure.exit_code, failure.time) == (78, BEFORE)
    assert failure.message == "no model_index.json in /m"


@pytest.mark.parametrize("words", ["", "Traceback…", '{"reason": "a b", "message": ""}', "[1]"])
def test_a_crash_without_usable_last_words_points_at_the_logs(scene: Scene, words: str) -> None:
    scene.ended(exitCode=1, message=words, finishedAt=BEFORE)
    assert scene.said("Ready") == ("False", "CrashLooping")


def test_a_model_that_cannot_be_fetched_is_said_in_the_words_of_what_fetches(scene: Scene) -> None:
    words = json.dumps({"reason": "DownloadFailed", "message": "403 for hf://owner/model"})
    ended = {"exitCode": 1, "message": words, "finishedAt": BEFORE}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    init = {"name": "model", "state": waiting, "lastState": {"terminated": ended}, "ready": False}
    server = {"name": "server", "state": {"waiting": {"reason": "PodInitializing"}}}
    scene.pod(initContainerStatuses=[init], containerStatuses=[server])
    assert scene.said("Ready") == ("False", "DownloadFailed")
    assert scene.said("ModelLoaded") == ("False", "DownloadFailed")


def test_a_model_that_was_fetched_is_no_failure(scene: Scene) -> None:
    done = {"name": "model", "state": {"terminated": {"exitCode": 0}}, "ready": True}
    scene.pod(initContainerStatuses=[done])
    assert scene.said("Ready") == ("Unknown", "RollingOut")


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
    assert scene.said("Ready") == ("False", reason)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('MountVolume.SetUp failed for volume "k" : secret "keys" not found', "SecretNotFound"),
        ("references non-existent secret key: api", "SecretNotFound"),
        ("timed out waiting for the condition", "MountFailed"),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_told_by_the_kubelets_newest_event(
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
    scene.ended(exitCode=code, finishedAt=BEFORE)
    (pod,) = scene.pods
    pod["spec"]["containers"] = [{"name": "server", "livenessProbe": {}}]
    pod["status"]["containerStatuses"][0] |= {"name": "server", "restartCount": 1}
    assert scene.said("Ready") == ("False", "ProbeFailed")


def test_running_out_of_memory_is_told_from_a_crash(scene: Scene) -> None:
    scene.ended(exitCode=137, reason="OOMKilled", finishedAt=BEFORE)
    assert scene.said("Ready") == ("False", "OutOfMemory")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", "InsufficientGPU"),
        ("1 node(s) didn't match Pod's node affinity/selector.", "NoMatchingNode"),
        ("0/1 nodes are available: 1 Insufficient cpu.", "Unschedulable"),
    ],
)
def test_a_pod_without_a_node_says_what_is_lacking(scene: Scene, message: str, reason: str) -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    pod = scene.pod()
    pod["spec"] = {}
    pod["status"]["conditions"] = [{**unscheduled, "message": message}]
    assert scene.said("Ready") == ("False", reason)
    assert scene.said("PodsScheduled") == ("False", "Unscheduled")


def test_a_quota_that_refuses_the_pods_is_told_from_other_refusals(scene: Scene) -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    scene.deployment["status"] = {"conditions": [refused]}
    assert scene.said("Ready") == ("False", "QuotaExceeded")
    refused["message"] = "violates PodSecurity"
    assert scene.said("Ready") == ("False", "Forbidden")


def test_a_failing_new_revision_does_not_hide_that_the_old_one_answers(scene: Scene) -> None:
    scene.pod(ready=True, revision="old")
    scene.ended(exitCode=1, finishedAt=BEFORE)
    ready = scene.status().conditions[0]
    assert ready.status == "False"
    assert "the previous revision still answers" in ready.message


def test_a_problem_with_the_spec_is_the_reason(scene: Scene) -> None:
    problem = Problem("UnknownAccelerator", "known: nvidia-l4")
    assert scene.said("Ready", problem) == ("False", "UnknownAccelerator")


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("made", [True, False])
def test_all_conditions_are_there_with_a_problem_too(
    scene: Scene, readable: bool, made: bool
) -> None:
    status = scene.status(Problem("Refused", "no"), readable=readable, made=made)
    said = {found.type: found for found in status.conditions}
    assert set(said) == {"Ready", "Progressing", "PodsScheduled", "ModelLoaded", "Stopped"}
    assert all(found.reason and found.message for found in said.values())
    assert (said["Ready"].status, said["PodsScheduled"].status) == ("False", "Unknown")
    assert said["Stopped"].status == ("False" if readable else "Unknown")


def test_a_suspended_service_with_a_problem_is_stopped_where_nothing_makes_pods(
    scene: Scene,
) -> None:
    scene.spec = scene.spec.model_copy(update={"suspend": True})
    problem = Problem("UnknownAccelerator", "known: nvidia-l4")
    assert scene.said("Stopped", problem) == ("Unknown", "UnknownAccelerator")
    scene.deployment["spec"]["replicas"] = 0
    assert scene.said("Stopped", problem) == ("True", "Suspended")
    scene.pod(ready=True)
    assert scene.said("Stopped", problem) == ("False", "UnknownAccelerator")


def test_what_the_api_server_quotes_at_length_is_cut(scene: Scene) -> None:
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
    times = {found.type: found.last_transition_time for found in scene.status().conditions}
    assert (times["Ready"], times["Progressing"]) == (BEFORE, NOW)


def test_the_last_failure_is_remembered_after_its_pod_is_gone(scene: Scene) -> None:
    kept = {"pod": "demo-9", "reason": "OutOfMemory", "message": "too much", "exitCode": 137}
    scene.service["status"] = {"lastFailure": kept}
    failure = scene.status().last_failure
    assert failure is not None
    assert failure.reason == "OutOfMemory"


@pytest.mark.parametrize(
    ("head", "said"), [(True, ("True", "Serving")), (False, ("False", "HeadLost"))]
)
def test_a_ray_cluster_answers_only_through_its_head(
    scene: Scene, head: bool, said: tuple[str, str]
) -> None:
    scene.counts(**ALL)
    scene.pod(ready=True)
    scene.pod(ready=True)
    scene.heads = [{**scene.pods[0], "status": scene.pods[0]["status"] if head else {}}]
    assert scene.said("Ready") == said
    assert "head" in scene.status().conditions[0].message


def test_a_suspended_service_is_stopped_once_its_pods_are_gone(scene: Scene) -> None:
    scene.spec = scene.spec.model_copy(update={"suspend": True})
    scene.pod(ready=True)["metadata"]["deletionTimestamp"] = NOW
    assert scene.said("Ready") == ("False", "Suspended")
    assert scene.said("Stopped") == ("False", "Stopping")
    scene.pods.clear()
    assert scene.said("Stopped") == ("True", "Suspended")
    scene.spec = scene.spec.model_copy(update={"suspend": False})
    assert scene.said("Stopped") == ("False", "Wanted")


def evicted(scene: Scene, **more: Any) -> Object:
    """A pod that its node has thrown out: it stays to be looked at, and another is made."""
    words = "The node was low on resource: memory."
    return scene.pod(phase="Failed", reason="Evicted", message=words, **more)


def test_a_pod_that_was_evicted_counts_for_nothing(scene: Scene) -> None:
    scene.spec = scene.spec.model_copy(update={"suspend": True})
    evicted(scene)
    assert scene.said("Stopped") == ("True", "Suspended")


def test_a_pod_that_was_evicted_is_no_trouble_of_those_that_start(scene: Scene) -> None:
    terminated = {"exitCode": 137, "reason": "Error", "finishedAt": BEFORE}
    evicted(scene, containerStatuses=[{"ready": False, "state": {"terminated": terminated}}])
    scene.pod()
    assert scene.said("Ready") == ("Unknown", "RollingOut")
    assert "1 of 2 replicas are of this revision" in scene.status().conditions[1].message
    failure = scene.status().last_failure
    assert failure is not None
    assert (failure.reason, failure.message) == ("Evicted", "The node was low on resource: memory.")


def test_an_eviction_of_long_ago_does_not_hide_a_later_failure(scene: Scene) -> None:
    later = {"pod": "demo-9", "reason": "OutOfMemory", "message": "too much", "time": NOW}
    scene.service["status"] = {"lastFailure": later}
    evicted(scene)
    failure = scene.status().last_failure
    assert failure is not None
    assert failure.reason == "OutOfMemory"


def test_every_condition_is_of_the_generation_it_was_computed_from(scene: Scene) -> None:
    assert {found.observed_generation for found in scene.status().conditions} == {3}


def test_the_way_of_a_rollout_is_told_and_why(scene: Scene) -> None:
    scene.counts(replicas=2, updatedReplicas=1, readyReplicas=2, availableReplicas=2)
    scene.pod(ready=True, revision="old")
    scene.pod()
    assert scene.said("Progressing") == ("True", "RollingOut")
    scene.deployment["spec"]["strategy"] = IN_PLACE
    assert scene.said("Progressing") == ("True", "RollingOutInPlace")
    scene.spec = scene.spec.model_copy(update={"replicas": 1})
    assert scene.said("Progressing") == ("True", "RollingOutWithDowntime")


def test_a_ray_cluster_that_gives_way_to_single_pods_is_away_meanwhile(scene: Scene) -> None:
    scene.counts(replicas=3, updatedReplicas=1, readyReplicas=2, availableReplicas=2)
    worker = scene.pod(ready=True, revision="old")
    scene.ended(exitCode=1, finishedAt=BEFORE)
    assert scene.said("Progressing") == ("True", "RollingOut")
    assert "still answers" in scene.status().conditions[0].message
    worker["metadata"]["labels"]["diffusion.dev/ray-worker"] = "demo"
    assert scene.said("Progressing") == ("True", "RollingOutWithDowntime")
    assert "requests fail" in scene.status().conditions[1].message
    assert "still answers" not in scene.status().conditions[0].message
    scene.pods.remove(worker)
    scene.service["status"] = {"revision": "old"}
    assert "no pod of an earlier revision is left" in scene.status().conditions[1].message


def test_a_pod_that_waits_for_an_old_one_to_end_is_no_trouble(scene: Scene) -> None:
    lacking = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    scene.deployment["spec"]["strategy"] = IN_PLACE
    scene.pod(ready=True, revision="old")["metadata"]["deletionTimestamp"] = NOW
    scene.pod(conditions=[{**lacking, "message": "1 Insufficient nvidia.com/gpu."}])
    assert scene.said("Ready") == ("Unknown", "RollingOut")
    assert scene.status().last_failure is None
    del scene.pods[0]
    assert scene.said("Ready") == ("False", "InsufficientGPU")


def test_a_beginning_has_settled_once_all_pods_are_there_and_counted_and_looked_at(
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
