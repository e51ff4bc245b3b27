"""Failures of pods, as the status of their DiffusionService reports them."""

import json
from typing import Any

import pytest

from diffusion_operator.diffusionservice.pod_counts import observe_pods
from diffusion_operator.kube.pod_status import mount_failure
from service_scene import BEFORE, NOW, Scene

Object = dict[str, Any]


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
