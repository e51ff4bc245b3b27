"""LoadTests against a real API server; the tests play the runner and the kubelet."""

import json
from typing import Any

from expansion import expanded
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service, load_test
from operator_process import OperatorProcess
from played import children, make_pods_ready
from played_runner import ANYWHERE, begin, begun, finish, progress, publish, report, state, the_job
from user_text import NASTY, PATH


def test_a_test_waits_for_its_target_and_says_so(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(load_test())
    eventually(lambda: state(kubectl) == "Waiting", what="the test to wait")
    waiting = condition(kubectl.get("lt", "ramp"), "Complete")
    assert (waiting["status"], waiting["reason"]) == ("False", "TargetNotFound")
    assert "apply it, or correct spec.targetRef.name" in waiting["message"]

    kubectl.apply(diffusion_service())
    eventually(
        lambda: condition(kubectl.get("lt", "ramp"), "Complete").get("reason") == "TargetNotReady",
        what="the reason for the target",
    )
    assert kubectl.list("jobs") == []
    eventually(lambda: children(kubectl), what="the service's children")
    make_pods_ready(kubectl)
    eventually(lambda: the_job(kubectl), what="the Job once the target is Ready")
    eventually(lambda: state(kubectl) == "Starting", what="the state")


def test_figures_stand_in_the_columns(kubectl: Kubectl, operator: OperatorProcess) -> None:
    run = begin(kubectl, slo={"p95": "8s"})
    publish(kubectl, "progress.json", progress(run, 7))
    eventually(
        lambda: (kubectl.status("lt", "ramp").get("progress") or {}).get("requests") == 7,
        what="the progress",
    )
    row = kubectl("get", "lt").splitlines()[1]
    assert row.split()[:9] == (
        ["ramp", "127.0.0.1", "Running", "2", "1", "812", "1102", "0", "Unknown"]
    )
    finish(kubectl, run, slo={"met": True, "checks": [], "message": "p95 300 ms of 8000"})
    header, row = kubectl("get", "loadtests").splitlines()
    assert header.split() == [
        "NAME",
        "TARGET",
        "BACKEND",
        "STATE",
        "USERS",
        "RPS",
        "P50",
        "P95",
        "FAILURES",
        "SLO",
        "AGE",
    ]
    assert row.split()[:10] == (
        ["ramp", "127.0.0.1", "fastapi", "Complete", "2", "8.04", "120", "300", "3", "True"]
    )
    status = kubectl.get("lt", "ramp")["status"]
    assert "progress" not in status
    assert status["reportRef"] == {"name": "ramp-loadtest", "key": "report.json"}


def test_a_users_text_arrives_to_the_letter(kubectl: Kubectl, operator: OperatorProcess) -> None:
    run = begin(kubectl, request={"prompts": {"inline": [NASTY]}, "negativePrompt": NASTY})
    job = the_job(kubectl)
    assert job is not None
    (container,) = job["spec"]["template"]["spec"]["containers"]
    plan = json.loads(expanded(container["env"][0]["value"]))
    assert plan["prompts"]["inline"] == [NASTY]
    status = finish(kubectl, run, error={"reason": "TargetUnreachable", "message": NASTY})
    assert condition({"status": status}, "Failed")["message"] == NASTY
    kubectl.annotate("lt", "ramp", {"diffusion.dev/run-at": NASTY})
    again = begun(kubectl, after=run)
    assert finish(kubectl, again)["runAt"] == NASTY

    source = f"image:///models/{PATH}\nx"
    marks = {"metadata": {"annotations": {"note": NASTY}}}
    kubectl.apply(diffusion_service("party", model={"source": source}, podTemplate=marks))
    made = eventually(lambda: kubectl.find("deployment", "party"), what="the Deployment")
    kubectl.patch("dsvc", "party", {"spec": {"generation": {"steps": 3}}})

    def changed() -> dict[str, Any] | None:
        deployment = kubectl.get("deployment", "party")
        before = made["metadata"]["generation"]
        return deployment if deployment["metadata"]["generation"] > before else None

    template = eventually(changed, what="the changed Deployment")["spec"]["template"]
    assert template["metadata"]["annotations"]["note"] == NASTY
    config = json.loads(expanded(template["spec"]["containers"][0]["env"][0]["value"]))
    assert (config["model"]["source"], config["generation"]["steps"]) == (source, 3)
    rows = kubectl("get", "dsvc,lt", "--no-headers").rstrip("\n").split("\n")
    assert [row.split()[0].rpartition("/")[2] for row in rows] == ["party", "ramp"]


def test_prompts_reach_neither_status_nor_labels_nor_logs(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    secret = "a confidential unicorn"
    run = begin(kubectl, request={"prompts": {"inline": [secret]}})
    publish(kubectl, "report.json", report(run))
    eventually(lambda: state(kubectl) == "Complete", what="the end")
    assert secret not in json.dumps(kubectl.get("lt", "ramp")["status"])
    job = the_job(kubectl)
    assert job is not None
    assert secret not in json.dumps(job["metadata"])
    assert secret not in operator.log.read_text()


def test_a_report_written_while_the_operator_was_down_is_there_when_it_is_back(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = begin(kubectl)
    operator.kill()
    publish(kubectl, "report.json", report(run))
    operator.start()
    eventually(lambda: state(kubectl) == "Complete", what="the end")
    assert kubectl.get("lt", "ramp")["status"]["summary"]["requests"] == 200


def test_a_finished_test_stays_finished_when_its_job_and_report_are_gone(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = begin(kubectl)
    publish(kubectl, "report.json", report(run))
    eventually(lambda: state(kubectl) == "Complete", what="the end")
    kubectl.delete_all("jobs", wait=False)
    kubectl.delete("configmap", "ramp-loadtest")
    operator.stop()
    operator.start()
    kubectl.apply(load_test("other", **ANYWHERE))
    eventually(lambda: the_job(kubectl, "other"), what="a later test to begin")
    assert state(kubectl) == "Complete"
    assert the_job(kubectl) is None


def test_a_changed_spec_is_a_new_run_and_the_old_report_does_not_count_for_it(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    first = begin(kubectl)
    publish(kubectl, "report.json", report(first))
    eventually(lambda: state(kubectl) == "Complete", what="the end")
    kubectl.patch("lt", "ramp", {"spec": {"users": {"spawnRate": "1"}}})
    second = begun(kubectl, after=first)
    eventually(lambda: state(kubectl) == "Starting", what="the new run's state")
    finish(kubectl, second)


def test_a_runner_that_ends_without_a_report_is_a_failed_test(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    begin(kubectl)
    pods = eventually(lambda: kubectl.list("pods", "diffusion.dev/loadtest=ramp"), what="its pod")
    kubectl.patch(
        "pod", pods[0]["metadata"]["name"], {"status": {"phase": "Failed"}}, "--subresource=status"
    )
    eventually(lambda: state(kubectl) == "Failed", what="the end")
    failed = condition(kubectl.get("lt", "ramp"), "Failed")
    assert (failed["status"], failed["reason"]) == ("True", "RunnerLost")


def test_a_runner_image_that_cannot_be_pulled_is_reported(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    begin(kubectl)
    pods = eventually(lambda: kubectl.list("pods", "diffusion.dev/loadtest=ramp"), what="its pod")
    container = {
        "name": "locust",
        "image": "loadtest:none",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}},
    }
    status = {"status": {"containerStatuses": [container]}}
    kubectl.patch("pod", pods[0]["metadata"]["name"], status, "--subresource=status")
    eventually(
        lambda: condition(kubectl.get("lt", "ramp"), "Complete").get("reason") == "ImagePullFailed",
        what="the reason",
    )


def test_deleting_a_test_leaves_nothing(kubectl: Kubectl, operator: OperatorProcess) -> None:
    begin(kubectl)
    kubectl.delete("lt", "ramp")
    kinds = ("jobs", "serviceaccounts", "roles", "rolebindings", "configmaps")
    eventually(
        lambda: (
            not any(
                each["metadata"]["name"].startswith("ramp")
                for kind in kinds
                for each in kubectl.list(kind)
            )
        ),
        what="no child left",
    )
