"""DiffusionServices that cannot serve, and the reasons in their status."""

from typing import Any

from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import children, have_ready, make_pods_ready
from quota import DEPLOYMENT, POD, limit
from served import ready_reason, what_serves

Object = dict[str, Any]


def test_an_unknown_gpu_lists_the_known_ones(kubectl: Kubectl, operator: OperatorProcess) -> None:
    kubectl.apply(diffusion_service(gpu={"type": "nvidia-l5"}))
    eventually(lambda: ready_reason(kubectl) == "UnknownAccelerator", what="the reason")
    assert "known: standin" in condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    kubectl.patch("dsvc", "demo", {"spec": {"gpu": {"type": "standin"}}})
    eventually(lambda: children(kubectl), what="the children after the correction")


def test_a_gpu_that_no_node_has_is_named(kubectl: Kubectl, operator: OperatorProcess) -> None:
    kubectl.apply(diffusion_service(gpu={"type": "standin"}))
    eventually(lambda: ready_reason(kubectl) == "InsufficientGPU", what="the reason")
    service = kubectl.get("dsvc", "demo")
    assert "diffusion.dev/standin-gpu" in condition(service, "Ready")["message"]
    assert condition(service, "PodsScheduled")["status"] == "False"


def test_a_quota_in_the_way_is_named(kubectl: Kubectl, operator: OperatorProcess) -> None:
    limit(kubectl, "pods", POD)
    kubectl.apply(diffusion_service())
    eventually(lambda: ready_reason(kubectl) == "QuotaExceeded", what="the reason")


def test_a_model_that_fails_to_load_says_so_in_the_servers_own_words(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    pods = eventually(lambda: kubectl.list("pods", "diffusion.dev/service=demo"), what="a pod")
    words = '{"reason": "ModelLoadFailed", "message": "/models/demo has no model_index.json"}'
    ended = {"exitCode": 78, "message": words, "finishedAt": "2026-01-02T03:04:05Z"}
    container = {
        "name": "server",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    status = {"status": {"containerStatuses": [container]}}
    kubectl.patch("pod", pods[0]["metadata"]["name"], status, "--subresource=status")
    eventually(lambda: ready_reason(kubectl) == "ModelLoadFailed", what="the reason")
    failure = kubectl.get("dsvc", "demo")["status"]["lastFailure"]
    assert failure["exitCode"] == 78
    assert failure["message"] == "/models/demo has no model_index.json"


def test_a_model_that_cannot_be_fetched_says_so_in_the_fetchers_words(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(model={"source": "hf://owner/model"}))
    pods = eventually(lambda: kubectl.list("pods", "diffusion.dev/service=demo"), what="a pod")
    assert pods[0]["spec"]["initContainers"][0]["name"] == "model"
    words = '{"reason": "DownloadFailed", "message": "hf://owner/model: 401, set tokenSecretRef"}'
    container = {
        "name": "model",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "message": words}},
    }
    status = {"status": {"initContainerStatuses": [container]}}
    kubectl.patch("pod", pods[0]["metadata"]["name"], status, "--subresource=status")
    eventually(lambda: ready_reason(kubectl) == "DownloadFailed", what="the reason")
    assert "set tokenSecretRef" in kubectl.get("dsvc", "demo")["status"]["lastFailure"]["message"]


def test_a_missing_secret_is_named_as_the_kubelet_tells_it(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(auth={"apiKeySecretRef": {"name": "keys", "key": "api"}}))

    def placed() -> Object | None:
        pods = kubectl.list("pods", "diffusion.dev/service=demo")
        return pods[0] if pods and pods[0]["spec"].get("nodeName") else None

    pod = eventually(placed, what="a pod on a node")
    meta = pod["metadata"]
    message = 'MountVolume.SetUp failed for volume "api-key" : secret "keys" not found'
    about = {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"]}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "played"},
            "involvedObject": {**about, "apiVersion": "v1", "uid": meta["uid"]},
            "type": "Warning",
            "reason": "FailedMount",
            "message": message,
            "lastTimestamp": "2026-01-02T03:04:05Z",
        }
    )
    eventually(lambda: ready_reason(kubectl) == "SecretNotFound", what="the reason")
    assert message in condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    make_pods_ready(kubectl)
    assert ready_reason(kubectl) == "Serving"


def test_a_child_that_the_api_server_refuses_is_reported(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    limit(kubectl, "count/deployments.apps", DEPLOYMENT)
    kubectl.apply(diffusion_service())
    eventually(lambda: ready_reason(kubectl) == "QuotaExceeded", what="the reason")
    assert "count/deployments.apps" in condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    kubectl.delete("quota", "none")
    eventually(lambda: children(kubectl), what="the children after the quota is gone")


def test_a_misspelt_field_of_an_existing_service_is_reported(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    before = what_serves(kubectl)
    kubectl.patch("dsvc", "demo", {"spec": {"podTemplate": {"spec": {"nodeNam": "n1"}}}})
    eventually(lambda: ready_reason(kubectl) == "Refused", what="the refusal")
    ready = condition(kubectl.get("dsvc", "demo"), "Ready")
    assert (ready["status"], ".nodeNam" in ready["message"]) == ("False", True)
    assert what_serves(kubectl) == before


def test_a_failure_has_one_event(kubectl: Kubectl, operator: OperatorProcess) -> None:
    kubectl.apply(diffusion_service(gpu={"type": "nvidia-l5"}))

    def events_of_services() -> list[tuple[str, str]]:
        return [
            (event["metadata"]["uid"], event["reason"])
            for event in kubectl.list("events")
            if event["involvedObject"]["kind"] == "DiffusionService"
        ]

    first = eventually(events_of_services, what="the Event")
    operator.stop()
    operator.start()
    kubectl.apply(diffusion_service("later"))
    eventually(lambda: children(kubectl, "later"), what="the later service's children")
    assert events_of_services() == first
    assert [reason for _, reason in first] == ["UnknownAccelerator"]


def test_a_model_that_cannot_fit_its_gpu_is_warned_of_before_it_starts(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    source = {"source": "hf://CompVis/stable-diffusion-v1-4"}
    kubectl.apply(diffusion_service(model=source, gpu={"type": "standin-2gi"}))

    def loaded() -> Object:
        return condition(kubectl.get("dsvc", "demo"), "ModelLoaded")

    eventually(lambda: loaded().get("reason") == "ModelTooLarge", what="the warning")
    assert "needs at least 5.0 GiB in float32, and its GPU has 2Gi" in loaded()["message"]
    eventually(
        lambda: any(event["reason"] == "ModelTooLarge" for event in kubectl.list("events")),
        what="the Event",
    )


def test_an_impossible_spec_leaves_the_served_state_in_the_status(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    before = what_serves(kubectl)
    kubectl.patch("dsvc", "demo", {"spec": {"gpu": {"type": "nvidia-none"}}})
    eventually(lambda: ready_reason(kubectl) == "UnknownAccelerator", what="the reason")
    assert "previous pods still serve" in condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    assert what_serves(kubectl) == before
    # The API server's refusal quotes the name, and so is longer than a condition's message may be.
    mounts = [{"name": "x" * 40_000, "mountPath": "/x"}]
    template = {"spec": {"containers": [{"name": "server", "volumeMounts": mounts}]}}
    kubectl.patch("dsvc", "demo", {"spec": {"gpu": None, "podTemplate": template}})
    eventually(lambda: ready_reason(kubectl) == "Refused", what="the refusal")
    assert what_serves(kubectl) == before
