"""LoadTests on a real node: the real Locust against the real server."""

import json
from decimal import Decimal
from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

from in_cluster import (
    OperatorPod,
    StandIn,
    finished,
    requests_so_far,
    settings_of,
    wait_until_ready,
)
from install import Installed
from kubectl import Kubectl, condition, eventually
from manifests import load_test

Object = dict[str, Any]
QUICK = {"steps": 1, "guidanceScale": "1", "scheduler": "ddim"}
RUNNERS = "diffusion.dev/loadtest=ramp"


def test_figures_of_a_real_run_stand_in_the_columns(
    kubectl: Kubectl, operator: OperatorPod, stand_in: StandIn
) -> None:
    kubectl.apply(load_test(request={"prompts": {"inline": ["a red circle", "two blue stars"]}}))
    eventually(
        lambda: condition(kubectl.get("lt", "ramp"), "Complete").get("reason") == "TargetNotFound",
        what="the test to wait",
    )
    kubectl.apply(stand_in.service())
    status = finished(kubectl, "ramp")
    summary = status["summary"]
    assert (status["state"], summary["failures"]) == ("Complete", 0), status
    assert summary["requests"] > 3
    assert 0 < summary["p50"] <= summary["p95"]
    row = kubectl("get", "loadtests", "--no-headers").split()
    assert row[:4] == ["ramp", "demo", "fastapi", "Complete"]
    window = status["window"]
    assert row[4:9] == [
        str(window["users"]),
        window["requestsPerSecond"],
        str(window["p50"]),
        str(window["p95"]),
        "0",
    ]
    reference = status["reportRef"]
    report = json.loads(kubectl.get("configmap", reference["name"])["data"][reference["key"]])
    assert report["summary"]["requests"] == summary["requests"]
    assert report["target"]["about"]["revision"] == status["target"]["revision"]
    logs = kubectl("logs", "job/" + kubectl.list("jobs")[0]["metadata"]["name"]) + operator.log()
    assert "red circle" not in json.dumps(report) + logs


def test_an_operator_killed_in_the_middle_of_a_run_still_reports_it(
    kubectl: Kubectl, operator: OperatorPod, stand_in: StandIn
) -> None:
    kubectl.apply(stand_in.service())
    wait_until_ready(kubectl)
    kubectl.apply(load_test(users={"stages": [{"users": 2, "duration": "20s"}]}))
    eventually(lambda: requests_so_far(kubectl, "ramp"), within=60, what="load")
    job = kubectl.list("jobs")[0]["metadata"]["uid"]
    operator.kill()
    status = finished(kubectl, "ramp")
    assert (status["state"], status["summary"]["failures"]) == ("Complete", 0)
    assert kubectl.list("jobs")[0]["metadata"]["uid"] == job  # the same run, not a second one
    assert kubectl.find("configmap", status["reportRef"]["name"]) is not None


def test_a_url_without_a_server_is_a_failed_test(kubectl: Kubectl) -> None:
    kubectl.apply(load_test(targetRef=None, url="http://nobody.invalid"))
    status = finished(kubectl, "ramp")
    assert status["state"] == "Failed"
    failed = condition({"status": status}, "Failed")
    assert failed["reason"] == "TargetUnreachable"
    assert "nobody.invalid" in failed["message"]


def test_prompts_of_a_config_map_are_used(kubectl: Kubectl, stand_in: StandIn) -> None:
    kubectl("create", "configmap", "words", "--from-literal=prompts.txt=a red circle\na blue ring")
    kubectl.apply(stand_in.service())
    kubectl.apply(load_test(request={"prompts": {"configMapRef": {"name": "words"}}}))
    status = finished(kubectl, "ramp")
    assert (status["state"], status["summary"]["failures"]) == ("Complete", 0), status


@pytest.mark.full
def test_each_end_of_a_run_is_reported_and_the_load_stops(
    kubectl: Kubectl, stand_in: StandIn
) -> None:
    kubectl.apply(stand_in.service(generation=QUICK))
    wait_until_ready(kubectl)
    long = {"stages": [{"users": 1, "duration": "5m"}]}
    kubectl.apply(load_test(users=long))
    eventually(lambda: requests_so_far(kubectl, "ramp"), within=60, what="load")
    kubectl.patch("lt", "ramp", {"spec": {"suspend": True}})
    no_load(kubectl)
    assert kubectl.status("lt", "ramp")["state"] == "Suspended"

    kubectl.patch("lt", "ramp", {"spec": {"suspend": False}})
    eventually(lambda: requests_so_far(kubectl, "ramp"), within=60, what="load again")
    kubectl("delete", "pods", "-l", RUNNERS, "--grace-period=0", "--force")
    status = finished(kubectl, "ramp", within=60)
    failed = condition({"status": status}, "Failed")
    # Without grace the runner still gets SIGTERM, and may still publish its report.
    assert status["state"] == "Failed"
    assert failed["reason"] in {"Interrupted", "RunnerLost"}

    kubectl("annotate", "lt", "ramp", "diffusion.dev/run-at=now")
    eventually(lambda: requests_so_far(kubectl, "ramp"), within=60, what="another run")
    kubectl.delete("lt", "ramp")
    no_load(kubectl)

    kubectl.apply(load_test(users=long))
    eventually(lambda: requests_so_far(kubectl, "ramp"), within=60, what="load of a new test")
    kubectl.delete("dsvc", "demo")
    status = finished(kubectl, "ramp", within=60)
    failed = condition({"status": status}, "Failed")
    assert (status["state"], failed["reason"]) == ("Failed", "TargetDeleted")
    assert status["summary"]["requests"] > 0
    no_load(kubectl)


@pytest.mark.full
def test_a_runner_without_an_image_and_a_worker_without_a_node_are_reported(
    kubectl: Kubectl, installed: Installed
) -> None:
    node = kubectl.list("nodes")[0]["status"]["allocatable"]["cpu"]
    # Of two pods that request more than half a node each, one fits.
    cores = parse_quantity(node) * Decimal("0.6")
    nowhere = load_test(targetRef=None, url="http://nobody.invalid", workers=2)
    with settings_of(installed, f"runnerResources.requests.cpu={int(cores * 1000)}m"):
        kubectl.apply(nowhere)
        assert_reason_within_15_seconds(kubectl, "Unschedulable", "Insufficient cpu")
        kubectl.delete("lt", "ramp")
    with settings_of(installed, "images.loadtest=localhost:1/none:none"):
        kubectl.apply(nowhere)
        assert_reason_within_15_seconds(kubectl, "ImagePullFailed", "localhost:1/none:none")


def assert_reason_within_15_seconds(kubectl: Kubectl, reason: str, words: str) -> None:
    """Asserts that the status has the reason and the words soon after the Job was created."""
    eventually(lambda: kubectl.list("jobs"), what="a Job")
    eventually(
        lambda: condition(kubectl.get("lt", "ramp"), "Complete").get("reason") == reason,
        within=15,
        what=reason,
    )
    assert words in condition(kubectl.get("lt", "ramp"), "Complete")["message"]


def no_load(kubectl: Kubectl) -> None:
    """Waits until the load's pods are gone, within seconds."""
    eventually(lambda: not kubectl.list("pods", RUNNERS), within=20, what="the load to stop")
