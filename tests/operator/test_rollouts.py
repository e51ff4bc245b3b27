"""Rollouts: a revision of a DiffusionService takes over from another."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service
from operator_process import OperatorProcess
from played import have_ready, make_pods_ready
from played_runner import begun, finish
from pretend_node import NAME

Object = dict[str, Any]
GPU = {"type": "standin"}
STANDIN = "diffusion.dev/standin-gpu"
Capacity = Callable[[int], None]


@pytest.fixture
def spare(control_plane: Kubectl, kubectl: Kubectl) -> Iterator[Capacity]:
    """Gives the pretend node that many stand-in GPUs; afterwards the node has none."""

    def have(count: int) -> None:
        gpus = {STANDIN: str(count)}
        status = {"status": {"capacity": gpus, "allocatable": gpus}}
        control_plane.patch("node", NAME, status, "--subresource=status")

    # Services of other tests may still wait for a GPU.
    for namespace in {pod["metadata"]["namespace"] for pod in takers(control_plane)}:
        delete_services(control_plane.in_namespace(namespace))
    eventually(lambda: not takers(control_plane), what="no other pod with a GPU")
    yield have
    delete_services(kubectl)
    eventually(lambda: end_pods(kubectl), what="no pod with a GPU")
    have(0)


def delete_services(kubectl: Kubectl) -> None:
    for kind in ("dsvc", "deployments", "replicasets"):
        kubectl.delete_all(kind)


def takers(control_plane: Kubectl) -> list[Object]:
    """The pods of all namespaces that request a stand-in GPU."""
    return [
        pod
        for pod in control_plane.list("pods", everywhere=True)
        for container in pod["spec"]["containers"]
        if STANDIN in container.get("resources", {}).get("limits", {})
    ]


def end_pods(kubectl: Kubectl) -> bool:
    """Plays the kubelet, which removes ended pods; returns whether no pod is left."""
    kubectl.delete_all("pods", now=True)
    return not kubectl.list("pods")


def mine(kubectl: Kubectl) -> list[Object]:
    return kubectl.list("pods", "diffusion.dev/service=demo")


def says(kubectl: Kubectl, kind: str) -> str:
    return str(condition(kubectl.get("dsvc", "demo"), kind).get("reason", ""))


def end_deleted_pods(kubectl: Kubectl) -> bool:
    """Plays the kubelet, which removes pods under deletion; returns whether there were any."""
    ending = [pod for pod in mine(kubectl) if pod["metadata"].get("deletionTimestamp")]
    for pod in ending:
        kubectl.delete("pod", pod["metadata"]["name"], now=True)
    return bool(ending)


def test_with_a_spare_gpu_the_new_pod_starts_beside_the_old_one(
    kubectl: Kubectl, operator: OperatorProcess, spare: Capacity
) -> None:
    spare(2)
    have_ready(kubectl, diffusion_service(gpu=GPU))
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(
        lambda: sum(bool(pod["spec"].get("nodeName")) for pod in mine(kubectl)) == 2,
        what="both on the node",
    )
    assert not any(pod["metadata"].get("deletionTimestamp") for pod in mine(kubectl))
    eventually(lambda: says(kubectl, "Progressing") == "RollingOut", what="the way of the rollout")


def test_without_a_spare_gpu_the_only_replica_ends_first_and_the_downtime_is_announced(
    kubectl: Kubectl, operator: OperatorProcess, spare: Capacity
) -> None:
    spare(1)
    have_ready(kubectl, diffusion_service(gpu=GPU))
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(
        lambda: says(kubectl, "Progressing") == "RollingOutWithDowntime", what="the announcement"
    )
    message = condition(kubectl.get("dsvc", "demo"), "Progressing")["message"]
    assert "there is no spare GPU" in message
    eventually(
        lambda: any(
            event["reason"] == "RollingOutWithDowntime" for event in kubectl.list("events")
        ),
        what="the Event",
    )
    eventually(lambda: end_deleted_pods(kubectl), what="the old pod to end")
    make_pods_ready(kubectl)
    assert says(kubectl, "Progressing") == "UpToDate"
    assert len(mine(kubectl)) == 1


def test_without_a_spare_gpu_several_replicas_go_one_at_a_time(
    kubectl: Kubectl, operator: OperatorProcess, spare: Capacity
) -> None:
    spare(2)
    have_ready(kubectl, diffusion_service(gpu=GPU, replicas=2))
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(
        lambda: says(kubectl, "Progressing") == "RollingOutInPlace", what="the way of the rollout"
    )
    eventually(
        lambda: any(pod["metadata"].get("deletionTimestamp") for pod in mine(kubectl)),
        what="an old pod to end",
    )
    ending = [pod for pod in mine(kubectl) if pod["metadata"].get("deletionTimestamp")]
    assert len(ending) == 1
    assert says(kubectl, "Ready") == "RollingOut"


def test_an_old_pod_makes_room_in_a_quota(kubectl: Kubectl, operator: OperatorProcess) -> None:
    have_ready(kubectl, diffusion_service())
    kubectl("create", "quota", "few", "--hard=pods=1")
    eventually(
        lambda: (
            (kubectl.get("quota", "few").get("status") or {}).get("used", {}).get("pods") == "1"
        ),
        what="the quota to count the pod",
    )
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    eventually(
        lambda: says(kubectl, "Progressing") == "RollingOutWithDowntime", what="the announcement"
    )
    eventually(lambda: end_deleted_pods(kubectl), what="the old pod to end")
    make_pods_ready(kubectl)
    assert says(kubectl, "Ready") == "Serving"


def end_loading(kubectl: Kubectl, revision: str, times: int) -> None:
    """Plays the kubelet: the servers of that revision have failed to load that many times."""
    words = '{"reason": "ModelLoadFailed", "message": "/models/none has no model_index.json"}'
    container = {
        "name": "server",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": times,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 78, "message": words}},
    }

    def pods() -> list[Object]:
        return kubectl.list("pods", f"diffusion.dev/service=demo,diffusion.dev/revision={revision}")

    for pod in eventually(pods, what=f"a pod of revision {revision}"):
        status = {"status": {"containerStatuses": [container]}}
        kubectl.patch("pod", pod["metadata"]["name"], status, "--subresource=status")


def deployed(kubectl: Kubectl) -> str:
    labels = kubectl.get("deployment", "demo")["spec"]["template"]["metadata"]["labels"]
    return str(labels["diffusion.dev/revision"])


def another_revision(kubectl: Kubectl, before: str, **spec: Any) -> str:
    """Changes the spec, and waits for the rollout of its revision, which it returns."""
    kubectl.patch("dsvc", "demo", {"spec": spec})
    eventually(lambda: deployed(kubectl) != before, what="the new revision")
    return deployed(kubectl)


def events_of(kubectl: Kubectl, reason: str) -> list[Object]:
    return [each for each in kubectl.list("events") if each["reason"] == reason]


def test_a_revision_that_never_becomes_ready_gives_way_to_the_last_good_one(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    good = deployed(kubectl)
    bad = another_revision(kubectl, good, model={"source": "image:///models/none"})
    end_loading(kubectl, bad, times=1)
    eventually(
        lambda: says(kubectl, "Ready") == "ModelLoadFailed", what="the failure in the status"
    )
    assert deployed(kubectl) == bad
    end_loading(kubectl, bad, times=3)
    eventually(lambda: says(kubectl, "Ready") == "RolledBack", what="the rollback")
    assert deployed(kubectl) == good
    service = kubectl.get("dsvc", "demo")
    assert (service["status"]["revision"], service["status"]["failedRevision"]) == (good, bad)
    assert "ModelLoadFailed: /models/none has no" in condition(service, "Ready")["message"]
    assert service["spec"]["model"]["source"] == "image:///models/none"

    operator.stop()
    operator.start()
    kubectl.scale("dsvc", "demo", 2)
    eventually(
        lambda: kubectl.get("deployment", "demo")["spec"]["replicas"] == 2, what="two replicas"
    )
    assert deployed(kubectl) == good
    assert len(events_of(kubectl, "RolledBack")) == 1

    another_revision(kubectl, good, model={"source": "image:///models/other"})
    make_pods_ready(kubectl)
    assert "failedRevision" not in kubectl.get("dsvc", "demo")["status"]


def test_one_good_revision_is_kept_and_goes_with_the_service(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service())
    for steps in (5, 6, 7):
        before = deployed(kubectl)
        another_revision(kubectl, before, generation={"steps": steps})
        make_pods_ready(kubectl)
        kept = [each["metadata"]["name"] for each in kubectl.list("controllerrevisions")]
        assert f"demo-{before}" in kept
        eventually(lambda: len(kubectl.list("controllerrevisions")) == 1, what="only one kept")
    kubectl.delete("dsvc", "demo")
    eventually(lambda: not kubectl.list("controllerrevisions"), what="none left")


def test_with_hold_a_failed_revision_stays_until_the_spec_changes(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    have_ready(kubectl, diffusion_service(rollout={"onFailure": "Hold"}))
    bad = another_revision(kubectl, deployed(kubectl), model={"source": "image:///models/none"})
    end_loading(kubectl, bad, times=5)
    eventually(lambda: says(kubectl, "Ready") == "ModelLoadFailed", what="the failure")
    assert deployed(kubectl) == bad
    assert (
        "the previous revision still answers"
        in (condition(kubectl.get("dsvc", "demo"), "Ready")["message"])
    )


GATE: Object = {
    "gate": {
        "loadTestTemplate": {
            "users": {"stages": [{"users": 1, "duration": "5s"}]},
            "slo": {"p95": "8s"},
        }
    }
}


def begin_gate(kubectl: Kubectl) -> tuple[str, str]:
    """Starts a candidate's load test beside a served revision; returns the test and its run."""
    have_ready(kubectl, diffusion_service(rollout=GATE))
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    mark_ready(kubectl, "diffusion.dev/candidate=demo")
    (test,) = eventually(lambda: kubectl.list("lt"), what="the candidate's test")
    name = test["metadata"]["name"]
    assert test["spec"]["url"] == f"http://demo-preview.{kubectl.namespace}.svc"
    return name, begun(kubectl, name)


def mark_ready(kubectl: Kubectl, selector: str) -> None:
    """Plays the kubelet: makes the pods of the selector Ready."""
    pods = eventually(lambda: kubectl.list("pods", selector), what=f"pods of {selector}")
    ready = [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")]
    status = {"status": {"conditions": ready, "phase": "Running"}}
    for pod in pods:
        kubectl.patch("pod", pod["metadata"]["name"], status, "--subresource=status")


def test_a_gated_revision_takes_over_when_it_has_passed_its_load_test(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    test, run = begin_gate(kubectl)
    before = deployed(kubectl)
    assert kubectl.status("dsvc", "demo")["revision"] == before
    eventually(lambda: says(kubectl, "Ready") == "Gating", what="the trial in the status")
    (candidate,) = kubectl.list("pods", "diffusion.dev/candidate=demo")
    assert "diffusion.dev/service" not in candidate["metadata"]["labels"]
    operator.stop()
    operator.start()
    met = {"met": True, "checks": [], "message": "p95 300 ms of 8000"}
    finish(kubectl, run, test, slo=met)
    eventually(lambda: deployed(kubectl) != before, what="the takeover")
    make_pods_ready(kubectl)
    eventually(lambda: not kubectl.find("deployment", "demo-candidate"), what="the candidate to go")
    eventually(lambda: not kubectl.find("service", "demo-preview"), what="its Service to go")


def test_a_gated_revision_that_fails_its_load_test_takes_no_traffic(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    test, run = begin_gate(kubectl)
    before = deployed(kubectl)
    missed = {"met": False, "checks": [], "message": "p95 9000 ms of 8000"}
    finish(kubectl, run, test, slo=missed)
    eventually(lambda: says(kubectl, "Ready") == "RolledBack", what="the refusal")
    assert deployed(kubectl) == before
    message = condition(kubectl.get("dsvc", "demo"), "Ready")["message"]
    assert "GateNotMet" in message
    assert "p95 9000 ms of 8000" in message
    eventually(lambda: not kubectl.find("deployment", "demo-candidate"), what="the candidate to go")
    assert kubectl.find("lt", test)


def test_a_gated_revision_that_the_spec_returns_to_is_tried_again(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    test, run = begin_gate(kubectl)
    first = uid(kubectl, test)
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 4}}})
    eventually(lambda: not kubectl.find("deployment", "demo-candidate"), what="the candidate to go")
    eventually(lambda: not kubectl.find("lt", test), what="its test to go while it runs")
    second = tried_again(kubectl, test, after=first)
    missed = {"met": False, "checks": [], "message": "p95 9000 ms of 8000"}
    finish(kubectl, begun(kubectl, test, after=run), test, slo=missed)
    eventually(lambda: says(kubectl, "Ready") == "RolledBack", what="the refusal")
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 4}}})
    eventually(lambda: says(kubectl, "Ready") == "Serving", what="the served revision")
    assert uid(kubectl, test) == second, "the test shows why the candidate was refused"
    tried_again(kubectl, test, after=second)


def test_the_status_shows_no_trial_while_the_service_is_suspended(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    begin_gate(kubectl)
    eventually(lambda: says(kubectl, "Progressing") == "Gating", what="the trial in the status")
    kubectl.patch("dsvc", "demo", {"spec": {"suspend": True}})
    eventually(lambda: not kubectl.find("deployment", "demo-candidate"), what="the candidate to go")
    eventually(lambda: says(kubectl, "Progressing") != "Gating", what="the end of the trial")
    assert says(kubectl, "Ready") == "Suspended"


def uid(kubectl: Kubectl, test: str) -> str:
    """The uid of the LoadTest, or an empty text if it does not exist."""
    load_test = kubectl.find("lt", test)
    return str(load_test["metadata"]["uid"]) if load_test else ""


def tried_again(kubectl: Kubectl, test: str, *, after: str) -> str:
    """Sets the candidate's spec again; returns the uid of its new load test."""
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})

    def another() -> str:
        mark_ready(kubectl, "diffusion.dev/candidate=demo")
        current = uid(kubectl, test)
        return "" if current == after else current

    return eventually(another, what="a test of the new candidate")
