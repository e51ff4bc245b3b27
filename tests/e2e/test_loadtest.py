"""LoadTests on a real node: the real Locust against the real server."""

import json
from typing import Any

from in_cluster import OperatorPod, finished, requests_so_far, wait_until_ready
from kubectl import Kubectl, condition, eventually
from manifests import diffusion_service, load_test

Object = dict[str, Any]


def test_figures_of_a_real_run_stand_in_the_columns(
    kubectl: Kubectl, operator: OperatorPod
) -> None:
    kubectl.apply(load_test(request={"prompts": {"inline": ["a red circle", "two blue stars"]}}))
    eventually(
        lambda: condition(kubectl.get("lt", "ramp"), "Complete").get("reason") == "TargetNotFound",
        what="the test to wait",
    )
    kubectl.apply(diffusion_service())
    status = finished(kubectl, "ramp")
    summary = status["summary"]
    assert (status["state"], summary["failures"]) == ("Complete", 0), status
    assert summary["requests"] > 3
    assert 0 < summary["p50"] <= summary["p95"]
    row = kubectl("get", "loadtests", "--no-headers").split()
    assert row[:4] == ["ramp", "demo", "fastapi", "Complete"]
    assert row[4:9] == [
        str(summary["maxUsers"]),
        summary["requestsPerSecond"],
        str(summary["p50"]),
        str(summary["p95"]),
        "0",
    ]
    reference = status["reportRef"]
    report = json.loads(kubectl.get("configmap", reference["name"])["data"][reference["key"]])
    assert report["summary"]["requests"] == summary["requests"]
    assert report["target"]["about"]["revision"] == status["target"]["revision"]
    logs = kubectl("logs", "job/" + kubectl.list("jobs")[0]["metadata"]["name"]) + operator.log()
    assert "red circle" not in json.dumps(report) + logs


def test_an_operator_killed_in_the_middle_of_a_run_reports_it_all_the_same(
    kubectl: Kubectl, operator: OperatorPod
) -> None:
    kubectl.apply(diffusion_service())
    wait_until_ready(kubectl)
    kubectl.apply(load_test(users={"stages": [{"users": 2, "duration": "15s"}]}))
    eventually(lambda: requests_so_far(kubectl, "ramp"), within=60, what="load")
    job = kubectl.list("jobs")[0]["metadata"]["uid"]
    operator.kill()
    status = finished(kubectl, "ramp")
    assert (status["state"], status["summary"]["failures"]) == ("Complete", 0)
    assert kubectl.list("jobs")[0]["metadata"]["uid"] == job  # the same run, not a second one
    assert kubectl.find("configmap", status["reportRef"]["name"]) is not None


def test_a_url_that_nobody_answers_at_is_a_failed_test(kubectl: Kubectl) -> None:
    kubectl.apply(load_test(targetRef=None, url="http://nobody.invalid"))
    status = finished(kubectl, "ramp")
    assert status["state"] == "Failed"
    failed = condition({"status": status}, "Failed")
    assert failed["reason"] == "TargetUnreachable"
    assert "nobody.invalid" in failed["message"]


def test_prompts_of_a_config_map_are_used(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "words", "--from-literal=prompts.txt=a red circle\na blue ring")
    kubectl.apply(diffusion_service())
    kubectl.apply(load_test(request={"prompts": {"configMapRef": {"name": "words"}}}))
    status = finished(kubectl, "ramp")
    assert (status["state"], status["summary"]["failures"]) == ("Complete", 0), status
