"""DiffusionServices against a real API server."""

import json
from typing import Any

import pytest

from kubectl import Kubectl, condition, eventually
from manifests import RESTRICTED, diffusion_service, load_test
from operator_process import OperatorProcess
from played import CHILDREN, children, have_ready, make_pods_ready
from served import ready_reason

Object = dict[str, Any]


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


def test_a_selector_changed_by_hand_is_repaired_and_ready_follows_the_endpoints(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service(replicas=2))
    pods = kubectl.list("pods", "diffusion.dev/service=demo")
    for number, pod in enumerate(pods, start=1):
        address = {"status": {"podIP": f"10.9.8.{number}", "podIPs": [{"ip": f"10.9.8.{number}"}]}}
        kubectl.patch("pod", pod["metadata"]["name"], address, "--subresource=status")

    def endpoints() -> int:
        slices = kubectl.list("endpointslices", "kubernetes.io/service-name=demo")
        return sum(len(each.get("endpoints") or ()) for each in slices)

    eventually(lambda: endpoints() == 2, what="the endpoints")
    eventually(lambda: ready_reason(kubectl) == "Serving", what="the service to be Ready again")
    kubectl.patch("service", "demo", {"spec": {"selector": {"version": "blue"}}})
    kubectl.patch("pdb", "demo", {"spec": {"selector": {"matchLabels": {"app": "none"}}}})
    kubectl.patch(
        "deployment", "demo", {"spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}}
    )

    def repaired() -> bool:
        selector = kubectl.get("service", "demo")["spec"]["selector"]
        budget = kubectl.get("pdb", "demo")["spec"]["selector"]
        pod = kubectl.get("deployment", "demo")["spec"]["template"]["spec"]
        mine = {"diffusion.dev/service": "demo"}
        return selector == mine and budget == {"matchLabels": mine} and "nodeSelector" not in pod

    eventually(repaired, what="the selectors to be as the operator wrote them")


def test_children_left_by_an_orphaning_deletion_are_taken_up(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    before = {child["kind"]: child["metadata"]["uid"] for child in children(kubectl) or ()}
    kubectl("delete", "dsvc", "demo", "--cascade=orphan")
    kubectl.apply(diffusion_service())
    make_pods_ready(kubectl)
    owner = kubectl.get("dsvc", "demo")["metadata"]["uid"]
    for child in children(kubectl) or ():
        assert before.pop(child["kind"]) == child["metadata"]["uid"]
        assert [each["uid"] for each in child["metadata"]["ownerReferences"]] == [owner]
    assert before == {}


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


def test_every_pod_is_admitted_under_the_restricted_standard(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.label("namespace", kubectl.namespace, RESTRICTED)
    kubectl.apply(diffusion_service())
    kubectl.apply(load_test(targetRef=None, url="http://127.0.0.1:1"))
    eventually(lambda: kubectl.list("pods", "diffusion.dev/service=demo"), what="a serving pod")
    eventually(lambda: kubectl.list("pods", "diffusion.dev/loadtest=ramp"), what="a runner pod")


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


def test_several_replicas_are_drained_one_at_a_time(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(diffusion_service(replicas=2))
    budget = eventually(lambda: kubectl.find("pdb", "demo"), what="the budget")
    assert budget["spec"]["maxUnavailable"] == 1
    kubectl.scale("dsvc", "demo", 1)
    eventually(lambda: not kubectl.find("pdb", "demo"), what="the budget to go")


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


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client-side", "server-side"])
@pytest.mark.parametrize(
    "template",
    [
        {"remove": ["spec.securityContext.runAsUser", "spec.securityContext.fsGroup"]},
        {"spec": {"securityContext": {"$patch": "replace", "runAsNonRoot": True}}},
    ],
    ids=["remove", "$patch"],
)
def test_a_field_is_taken_away_by_each_way_to_apply(
    kubectl: Kubectl, operator: OperatorProcess, template: Object, how: tuple[str, ...]
) -> None:
    manifest = json.dumps(diffusion_service(podTemplate=template))
    kubectl("apply", *how, "-f", "-", stdin=manifest)
    made = eventually(lambda: kubectl.find("deployment", "demo"), what="the Deployment")
    security = made["spec"]["template"]["spec"]["securityContext"]
    assert security["runAsNonRoot"]
    assert not {"runAsUser", "fsGroup"} & security.keys()
