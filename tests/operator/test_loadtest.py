"""LoadTests against a real API server; the runner is played by the test, as is the kubelet."""

import json
from typing import Any

from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service, load_test
from operator_process import OperatorProcess
from played import children, make_pods_ready

Object = dict[str, Any]
ANYWHERE: Object = {"targetRef": None, "url": "http://127.0.0.1:1"}


def state(kubectl: Kubectl, name: str = "ramp") -> str:
    return str(kubectl.status("lt", name).get("state", ""))


def the_job(kubectl: Kubectl, name: str = "ramp") -> Object | None:
    """The test's Job, if there is exactly one."""
    jobs = kubectl.list("jobs", f"diffusion.dev/loadtest={name}")
    return jobs[0] if len(jobs) == 1 else None


def begin(kubectl: Kubectl, **spec: Any) -> str:
    """A running LoadTest of a URL; returns the run that its Job is for."""
    kubectl.apply(load_test(**{**ANYWHERE, **spec}))
    job = eventually(lambda: the_job(kubectl), what="the Job")
    return str(job["metadata"]["labels"]["diffusion.dev/run"])


def publish(kubectl: Kubectl, key: str, document: Object) -> None:
    """Play the runner."""
    kubectl.patch("configmap", "ramp-loadtest", {"data": {key: json.dumps(document)}})


def progress(run: str, requests: int) -> Object:
    return {
        "version": 1,
        "run": run,
        "state": "Running",
        "stage": 1,
        "stages": 1,
        "users": 2,
        "requests": requests,
        "failures": 0,
        "requestsPerSecond": 1.0,
        "elapsedSeconds": 1.0,
        "message": None,
    }


def report(run: str) -> Object:
    figures = {"requests": 200, "failures": 3, "requestsPerSecond": 8.04, "p50": 120.4}
    figures |= {"p95": 300.0, "p99": 410.6}
    return {
        "version": 1,
        "run": run,
        "startTime": "2026-01-02T03:04:05Z",
        "completionTime": "2026-01-02T03:05:05Z",
        "target": {"url": "http://x", "about": {"backend": "fastapi", "revision": "r1"}},
        "summary": {
            **figures,
            "failuresByKind": {"HTTP429": 3},
            "peakRequestsPerSecond": 11.0,
            "failuresPerSecond": 0.1,
            "maxUsers": 2,
        },
        "stages": [{**figures, "users": 2, "durationSeconds": 5.0}],
        "timeline": [],
        "error": None,
    }


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
        what="the target to be seen",
    )
    assert kubectl.list("jobs") == []
    eventually(lambda: children(kubectl), what="the service's children")
    make_pods_ready(kubectl)
    eventually(lambda: the_job(kubectl), what="the Job once the target is Ready")
    eventually(lambda: state(kubectl) == "Running", what="the state")


def test_figures_stand_in_the_columns(kubectl: Kubectl, operator: OperatorProcess) -> None:
    run = begin(kubectl)
    publish(kubectl, "progress.json", progress(run, 7))
    eventually(
        lambda: (kubectl.status("lt", "ramp").get("progress") or {}).get("requests") == 7,
        what="the progress",
    )
    publish(kubectl, "report.json", report(run))
    eventually(lambda: state(kubectl) == "Complete", what="the end")
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
        "AGE",
    ]
    assert row.split()[:9] == (
        ["ramp", "127.0.0.1", "fastapi", "Complete", "2", "8.04", "120", "300", "3"]
    )
    status = kubectl.get("lt", "ramp")["status"]
    assert "progress" not in status
    assert status["reportRef"] == {"name": "ramp-loadtest", "key": "report.json"}


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
    kubectl("delete", "jobs", "--all", "--wait=false")
    kubectl("delete", "configmap", "ramp-loadtest")
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

    def second_run() -> str:
        job = the_job(kubectl)
        run = str(job["metadata"]["labels"]["diffusion.dev/run"]) if job else first
        return "" if run == first else run

    second = eventually(second_run, what="another Job, and the first one gone")
    eventually(lambda: state(kubectl) == "Running", what="the new run's state")
    publish(kubectl, "report.json", report(second))
    eventually(lambda: state(kubectl) == "Complete", what="the new run's end")


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


def test_a_runner_image_that_cannot_be_pulled_is_said(
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
    kubectl("delete", "lt", "ramp", "--timeout=5s")
    kinds = ("jobs", "serviceaccounts", "roles", "rolebindings", "configmaps")
    eventually(
        lambda: (
            not any(
                found["metadata"]["name"].startswith("ramp")
                for kind in kinds
                for found in kubectl.list(kind)
            )
        ),
        what="no child left",
    )
