"""DiffusionServices against a real API server."""

import json
from typing import Any

import pytest

from kubectl import Kubectl, condition, eventually
from manifests import RESTRICTED, diffusion_service, load_test
from operator_process import OperatorProcess
from played import CHILDREN, children, have_ready, make_pods_ready
from quota import DEPLOYMENT, POD, limit

Object = dict[str, Any]


def ready_reason(kubectl: Kubectl, name: str = "demo") -> str:
    ready = condition(kubectl.get("dsvc", name), "Ready")
    return str(ready.get("reason", ""))


def versions(kubectl: Kubectl) -> dict[str, str]:
    """The resource version of every object that the operator writes."""
    kinds = ("dsvc", "lt", *CHILDREN, "configmap", "role", "rolebinding", "job")
    return {
        f"{kind}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for kind in kinds
        for each in kubectl.list(kind)
    }


def test_a_service_gets_its_children_and_is_ready_when_its_pods_answer(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(replicas=2))
    objects = eventually(lambda: children(kubectl), what="the children")
    uid = kubectl.get("dsvc", "demo")["metadata"]["uid"]
    assert {child["metadata"]["ownerReferences"][0]["uid"] for child in objects} == {uid}
    eventually(lambda: ready_reason(kubectl) == "RollingOut", what="the rollout to begin")
    make_pods_ready(kubectl)
    status = kubectl.get("dsvc", "demo")["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)
    assert status["url"] == f"http://demo.{kubectl.namespace}.svc"
    assert status["observedGeneration"] == 1
    kubectl("wait", "--for=condition=Ready", "dsvc/demo", "--timeout=30s")


def test_the_columns_show_backend_model_and_state(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: ready_reason(kubectl), what="a status")
    header, row = kubectl("get", "dsvc").splitlines()
    assert header.split() == [
        *("NAME", "BACKEND", "MODEL", "GPU", "PRECISION"),
        *("READY", "REPLICAS", "REASON", "URL", "AGE"),
    ]
    for shown in ("fastapi", "image:///models/demo", "float32", "Unknown", "RollingOut"):
        assert shown in row


def test_the_operator_leaves_the_resource_as_its_author_wrote_it(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    manifest = diffusion_service()
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    eventually(lambda: ready_reason(kubectl), what="a status")
    service = kubectl.get("dsvc", "demo")
    assert service["spec"] == {**manifest["spec"], "replicas": 1}  # the schema's only default
    assert "finalizers" not in service["metadata"]
    assert list(service["metadata"]["annotations"]) == [
        "kubectl.kubernetes.io/last-applied-configuration"
    ]


def test_scaling_works_by_kubectl_scale_and_starts_no_new_revision(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    before = eventually(lambda: kubectl.find("deployment", "demo"), what="the Deployment")
    kubectl("scale", "dsvc/demo", "--replicas=3")

    def scaled() -> Object | None:
        deployment = kubectl.get("deployment", "demo")
        return deployment if deployment["spec"]["replicas"] == 3 else None

    after = eventually(scaled, what="three replicas")
    assert after["spec"]["template"] == before["spec"]["template"]
    eventually(lambda: kubectl.status("dsvc", "demo").get("replicas") == 3, what="the status")


def test_changing_what_the_pods_do_rolls_out_a_new_revision(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    first = kubectl.get("dsvc", "demo")["status"]["revision"]
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(lambda: ready_reason(kubectl) != "Serving", what="a rollout")
    make_pods_ready(kubectl)
    assert kubectl.get("dsvc", "demo")["status"]["revision"] != first


def test_changes_to_a_child_are_reverted_and_additions_stay(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")
    change = {"metadata": {"annotations": {"team": "vision"}}, "spec": {"replicas": 5}}
    kubectl.patch("deployment", "demo", change)
    eventually(
        lambda: kubectl.get("deployment", "demo")["spec"]["replicas"] == 1, what="the repair"
    )
    assert kubectl.get("deployment", "demo")["metadata"]["annotations"]["team"] == "vision"
    kubectl.delete("service", "demo")
    eventually(lambda: kubectl.find("service", "demo"), what="the Service to come back")


def test_a_removed_identity_is_removed_from_the_account(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    def annotations() -> Object:
        current: Object = kubectl.get("serviceaccount", "demo")["metadata"]["annotations"]
        return current

    identity = {"cloud/identity": "painter"}
    kubectl.apply(diffusion_service(serviceAccount={"annotations": identity}))
    eventually(lambda: children(kubectl), what="the children")
    assert identity.items() <= annotations().items()
    kubectl.annotate("serviceaccount", "demo", {"team": "vision"})
    kubectl.patch("dsvc", "demo", {"spec": {"serviceAccount": None}})
    eventually(lambda: "cloud/identity" not in annotations(), what="the identity to go")
    assert annotations()["team"] == "vision"


def test_an_object_of_someone_else_in_the_way_is_named_and_left_alone(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl("create", "deployment", "demo", "--image=theirs:1")
    before = kubectl.get("deployment", "demo")["spec"]
    kubectl.apply(diffusion_service())
    eventually(lambda: ready_reason(kubectl) == "NameTaken", what="the conflict in the status")
    message = condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    assert "Deployment demo exists and is not this DiffusionService's" in message
    assert kubectl.get("deployment", "demo")["spec"] == before


def test_no_deployment_is_made_while_another_owner_has_the_services_name(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl("create", "service", "clusterip", "demo", "--tcp=80:80")
    kubectl.apply(diffusion_service())
    eventually(lambda: ready_reason(kubectl) == "NameTaken", what="the conflict in the status")
    message = condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    assert "Service demo exists and is not this DiffusionService's" in message
    assert not kubectl.find("deployment", "demo")


def test_a_service_waits_for_its_predecessors_children_and_says_so(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")
    held = {"metadata": {"finalizers": ["example.org/held"]}}
    kubectl.patch("deployment", "demo", held)
    kubectl.delete("dsvc", "demo")
    kubectl.apply(diffusion_service())
    words = "Deployment demo of the deleted DiffusionService demo is still there"
    eventually(
        lambda: condition(kubectl.get("dsvc", "demo"), "Ready").get("message") == words,
        what="the message of the wait",
    )
    ready = condition(kubectl.get("dsvc", "demo"), "Ready")
    assert (ready["status"], ready["reason"]) == ("Unknown", "AwaitingCleanup")
    kubectl.patch("deployment", "demo", {"metadata": {"finalizers": None}})
    eventually(lambda: ready_reason(kubectl) == "RollingOut", what="the children of its own")


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


def test_every_pod_is_admitted_under_the_restricted_standard(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.label("namespace", kubectl.namespace, RESTRICTED)
    kubectl.apply(diffusion_service())
    kubectl.apply(load_test(targetRef=None, url="http://127.0.0.1:1"))
    eventually(lambda: kubectl.list("pods", "diffusion.dev/service=demo"), what="a serving pod")
    eventually(lambda: kubectl.list("pods", "diffusion.dev/loadtest=ramp"), what="a runner pod")


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


def test_a_suspended_service_ends_its_pods_and_comes_back_as_it_was(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service(replicas=2))
    kubectl.patch("dsvc", "demo", {"spec": {"suspend": True}})
    eventually(lambda: ready_reason(kubectl) == "Suspended", what="the suspension")
    stopped = condition(kubectl.get("dsvc", "demo"), "Stopped")
    assert (stopped["status"], stopped["reason"]) == ("False", "Stopping")
    # The test plays the kubelet, which removes ended pods.
    kubectl.delete_all("pods", "diffusion.dev/service=demo", now=True)
    kubectl("wait", "--for=condition=Stopped", "dsvc/demo", "--timeout=30s")
    assert kubectl.get("dsvc", "demo")["spec"]["replicas"] == 2
    kubectl.patch("dsvc", "demo", {"spec": {"suspend": False}})
    make_pods_ready(kubectl)
    assert kubectl.get("dsvc", "demo")["status"]["readyReplicas"] == 2


def test_a_cache_of_the_services_own_is_made_and_goes_when_it_is_not_asked_for(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    model = {"source": "hf://owner/model"}
    kubectl.apply(diffusion_service(model={**model, "cache": {"size": "1Gi"}}))
    claim = eventually(lambda: kubectl.find("pvc", "demo-models"), what="the claim")
    assert claim["spec"]["resources"]["requests"] == {"storage": "1Gi"}
    kubectl.apply(diffusion_service(model=model))
    eventually(lambda: not kubectl.find("pvc", "demo-models"), what="the claim to go")


def test_a_child_that_the_api_server_refuses_is_reported(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    limit(kubectl, "count/deployments.apps", DEPLOYMENT)
    kubectl.apply(diffusion_service())
    eventually(lambda: ready_reason(kubectl) == "QuotaExceeded", what="the reason")
    assert "count/deployments.apps" in condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    kubectl.delete("quota", "none")
    eventually(lambda: children(kubectl), what="the children after the quota is gone")


def test_a_ray_cluster_without_kuberay_is_refused_and_the_pods_serve_on(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(backend="rayserve"))
    eventually(lambda: children(kubectl), what="the children")
    kubectl.apply(diffusion_service(backend="rayserve", rayserve={"topology": "cluster"}))
    eventually(lambda: ready_reason(kubectl) == "KubeRayMissing", what="the refusal")
    assert kubectl.find("deployment", "demo") is not None
    assert kubectl.get("service", "demo")["spec"]["selector"] == {"diffusion.dev/service": "demo"}
    kubectl.apply(diffusion_service(backend="rayserve"))
    eventually(lambda: ready_reason(kubectl) == "RollingOut", what="the spec to be taken")


def test_the_pods_can_be_changed_and_what_would_break_them_is_refused(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    sidecar = {"name": "proxy", "image": "mesh:1", "resources": {"limits": {"cpu": "1000m"}}}
    template = {"spec": {"containers": [sidecar], "priorityClassName": "system-node-critical"}}
    kubectl.apply(diffusion_service(podTemplate=template))
    eventually(lambda: children(kubectl), what="the children")
    pod = kubectl.get("deployment", "demo")["spec"]["template"]["spec"]
    assert {each["name"] for each in pod["containers"]} == {"proxy", "server"}
    assert pod["priorityClassName"] == "system-node-critical"
    gone = {"spec": {"containers": [{"name": "server", "$patch": "delete"}]}}
    kubectl.apply(diffusion_service(podTemplate=gone))
    eventually(lambda: ready_reason(kubectl) == "InvalidPodTemplate", what="the refusal")
    kubectl.apply(diffusion_service("misspelt", podTemplate={"spec": {"nodeNam": "n1"}}))
    eventually(lambda: ready_reason(kubectl, "misspelt") == "Refused", what="the refusal")
    message = condition(kubectl.get("dsvc", "misspelt"), "Ready")["message"]
    assert 'unknown field "spec.template.spec.nodeNam"' in message
    invalid = {"spec": {"priorityClassName": "Not A Name", "nodeName": "Not A Name"}}
    kubectl.apply(diffusion_service(podTemplate=invalid))
    eventually(lambda: ready_reason(kubectl) == "Refused", what="the API server's refusal")


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


def test_several_replicas_are_drained_one_at_a_time(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(replicas=2))
    budget = eventually(lambda: kubectl.find("pdb", "demo"), what="the budget")
    assert budget["spec"]["maxUnavailable"] == 1
    kubectl.scale("dsvc", "demo", 1)
    eventually(lambda: not kubectl.find("pdb", "demo"), what="the budget to go")


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


def test_a_restart_of_the_operator_writes_nothing(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    kubectl.apply(load_test(target="nobody"))
    eventually(lambda: children(kubectl), what="the children")
    make_pods_ready(kubectl)
    eventually(lambda: kubectl.get("lt", "ramp").get("status"), what="the LoadTest's status")
    before = versions(kubectl)
    assert operator.stop() == 0
    operator.start()
    # The operator reconciles a later service only after the earlier ones.
    kubectl.apply(diffusion_service("later"))
    eventually(lambda: children(kubectl, "later"), what="the later service's children")
    after = versions(kubectl)
    assert {key: after[key] for key in before} == before


def test_deleting_a_service_leaves_no_child_even_while_the_operator_is_down(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")
    operator.kill()
    kubectl.delete("dsvc", "demo")
    eventually(
        lambda: not any(kubectl.find(kind, "demo") for kind in CHILDREN), what="no child left"
    )
    operator.start()
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children of its successor")


def test_changes_while_the_operator_was_down_are_applied_after_its_restart(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service())
    eventually(lambda: children(kubectl), what="the children")
    operator.kill()
    kubectl.patch("dsvc", "demo", {"spec": {"replicas": 2}})
    kubectl.delete("service", "demo")
    kubectl.apply(diffusion_service("new"))
    operator.start()
    eventually(lambda: children(kubectl, "new"), what="the new service's children")
    eventually(lambda: children(kubectl), what="the deleted child")
    eventually(
        lambda: kubectl.get("deployment", "demo")["spec"]["replicas"] == 2, what="two replicas"
    )


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05])
def test_killed_at_any_moment_it_takes_up_where_it_left_off(
    kubectl: Kubectl, operator: OperatorProcess, moment: float
) -> None:
    names = [f"s{number}" for number in range(5)]
    for name in names:
        kubectl.apply(diffusion_service(name))
    eventually(
        lambda: len(kubectl.list("deployment")) > moment * 50, what="some of the work to be done"
    )
    operator.kill()
    operator.start()
    eventually(lambda: all(children(kubectl, name) for name in names), what="all the children")
    eventually(lambda: all(ready_reason(kubectl, name) for name in names), what="every status")


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


def what_serves(kubectl: Kubectl) -> Object:
    """The part of the status that describes the pods."""
    service = kubectl.get("dsvc", "demo")
    names = ("replicas", "readyReplicas", "revision", "precision")
    loaded = condition(service, "ModelLoaded").get("status")
    return {**{name: service["status"].get(name) for name in names}, "loaded": loaded}
