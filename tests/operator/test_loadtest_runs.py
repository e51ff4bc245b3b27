"""Runs of LoadTests: start, rerun, queue, stop, and the history."""

import json
from functools import partial
from typing import Any

import pytest

from kubectl import Kubectl, condition, eventually
from manifests import RESTRICTED, config_map, load_test
from operator_process import OperatorProcess
from played import make_pods_ready
from played_runner import (
    ANYWHERE,
    against_demo,
    begin,
    begun,
    finish,
    progress,
    publish,
    report,
    run_name,
    runner_jobs,
    state,
    status_and_reason,
    stopped,
    the_job,
)
from quota import JOB, POD, limit

Object = dict[str, Any]
RUN_AT = "diffusion.dev/run-at"


def is_queued(kubectl: Kubectl, name: str) -> bool:
    return state(kubectl, name) == "Queued"


def test_the_annotation_runs_it_again_and_the_earlier_summary_stays(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    first = begin(kubectl)
    finish(kubectl, first)
    moment = "2026-01-02T03:04:05+00:00"
    kubectl.annotate("lt", "ramp", {RUN_AT: moment})
    kubectl("wait", "lt/ramp", f"--for=jsonpath={{.status.runAt}}={moment}", "--timeout=30s")
    assert condition(kubectl.get("lt", "ramp"), "Complete")["status"] == "False"  # the new run's
    second = begun(kubectl, after=first)
    history = eventually(lambda: kubectl.status("lt", "ramp").get("history"), what="the history")
    assert [(each["run"], each["state"], each["valid"]) for each in history] == [
        (first, "Complete", "True")
    ]
    assert history[0]["summary"]["requestsPerSecond"] == "8.04"
    finish(kubectl, second)
    kubectl.annotate("lt", "ramp", {RUN_AT: "again"})
    third = begun(kubectl, after=second)
    status = finish(kubectl, third)
    assert [each["run"] for each in status["history"]] == [second, first]
    kubectl.patch("lt", "ramp", {"spec": {"historyLimit": 1}})
    eventually(
        lambda: [each["run"] for each in kubectl.status("lt", "ramp")["history"]] == [second],
        what="a shorter history",
    )
    assert state(kubectl) == "Complete"


def test_a_test_that_never_reruns_keeps_its_figures_whatever_changes(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = begin(kubectl, rerun="Never")
    finish(kubectl, run)
    kubectl.patch("lt", "ramp", {"spec": {"users": {"spawnRate": "1"}}})
    eventually(lambda: kubectl.status("lt", "ramp")["observedGeneration"] == 2, what="a reconcile")
    assert (state(kubectl), kubectl.status("lt", "ramp")["run"]) == ("Complete", run)
    kubectl.annotate("lt", "ramp", {RUN_AT: "now"})
    begun(kubectl, after=run)


def test_a_new_revision_of_the_target_is_tested_if_the_spec_says_so(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    first = against_demo(kubectl, rerun="OnTargetChange")
    finish(kubectl, first)
    kubectl.patch("dsvc", "demo", {"spec": {"generation": {"steps": 5}}})
    make_pods_ready(kubectl)
    second = begun(kubectl, after=first)
    revisions = [finish(kubectl, second)["target"]["revision"]]
    revisions.append(kubectl.status("lt", "ramp")["history"][0]["revision"])
    assert len(set(revisions)) == 2


def test_a_run_that_finished_while_the_operator_was_down_survives_a_changed_spec(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    first = begin(kubectl)
    operator.kill()
    publish(kubectl, "report.json", report(first))
    kubectl.patch("lt", "ramp", {"spec": {"users": {"spawnRate": "1"}}})
    operator.start()
    begun(kubectl, after=first)
    history = eventually(lambda: kubectl.status("lt", "ramp").get("history"), what="the history")
    assert [each["run"] for each in history] == [first]


def test_suspending_stops_the_load_and_resuming_begins_anew(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    first = begin(kubectl)
    kubectl.patch("lt", "ramp", {"spec": {"suspend": True}})
    eventually(lambda: not runner_jobs(kubectl), what="the Job to go")
    eventually(lambda: state(kubectl) == "Suspended", what="the state")
    publish(kubectl, "report.json", stopped(first))
    kubectl.patch("lt", "ramp", {"spec": {"suspend": False}})
    second = begun(kubectl, after=first)
    finish(kubectl, second)
    kubectl.patch("lt", "ramp", {"spec": {"suspend": True}})
    eventually(lambda: kubectl.status("lt", "ramp")["observedGeneration"] == 4, what="a reconcile")
    assert state(kubectl) == "Complete"


def test_a_stopped_runners_report_may_come_before_the_status_shows_the_pause(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    first = begin(kubectl)
    eventually(lambda: state(kubectl) == "Starting", what="the state")
    operator.kill()
    kubectl.patch("lt", "ramp", {"spec": {"suspend": True}})
    publish(kubectl, "report.json", stopped(first))
    operator.start()
    eventually(lambda: state(kubectl) != "Starting", what="a reconcile")
    assert status_and_reason(kubectl, "Complete") == ("False", "Suspended")
    kubectl.patch("lt", "ramp", {"spec": {"suspend": False}})
    begun(kubectl, after=first)


def test_tests_of_one_target_take_turns_by_age(kubectl: Kubectl, operator: OperatorProcess) -> None:
    first = begin(kubectl, "a")
    for name in ("b", "c"):
        kubectl.apply(load_test(name, **ANYWHERE))
        eventually(partial(is_queued, kubectl, name), what=f"{name} to queue")
    assert status_and_reason(kubectl, "Complete", "b") == ("False", "OthersFirst")
    begin(kubectl, "elsewhere", url="http://127.0.0.1:2")
    finish(kubectl, first, "a")
    begun(kubectl, "b")
    operator.kill()
    operator.start()
    assert the_job(kubectl, "c") is None
    kubectl.delete("lt", "b")
    begun(kubectl, "c")


def test_workers_get_a_job_of_their_own_and_no_rights(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.label("namespace", kubectl.namespace, RESTRICTED)
    run = begin(kubectl, workers=3)
    pods = eventually(
        lambda: (
            pods_of_run
            if len(pods_of_run := kubectl.list("pods", f"diffusion.dev/run={run}")) == 4
            else []
        ),
        what="a runner and three workers",
    )
    (runner,) = [pod for pod in pods if pod["metadata"]["labels"]["diffusion.dev/role"] == "runner"]
    workers = [pod for pod in pods if pod is not runner]
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in workers)
    service = kubectl.get("service", "lt-ramp-master")
    labels = runner["metadata"]["labels"]
    assert {k: labels[k] for k in service["spec"]["selector"]} == service["spec"]["selector"]
    host = f"lt-ramp-master.{kubectl.namespace}.svc:5557"
    assert workers[0]["spec"]["containers"][0]["args"] == ["--role", "worker", "--master", host]
    finish(kubectl, run)


def test_a_worker_without_a_node_is_reported_in_the_schedulers_words(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(load_test(**{**ANYWHERE, "workers": 64}))
    run = begun(kubectl)
    publish(kubectl, "progress.json", progress(run, 0, state="Waiting", message="1 of 64 are here"))
    pods = eventually(
        lambda: kubectl.list("pods", "diffusion.dev/role=worker"), what="a worker's pod"
    )
    no_node = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    eventually(
        lambda: status_and_reason(kubectl, "Complete")[1] == "RunnerWaiting", what="the wait"
    )
    status = {"status": {"conditions": [no_node]}}
    kubectl.patch("pod", pods[0]["metadata"]["name"], status, "--subresource=status")
    eventually(
        lambda: status_and_reason(kubectl, "Complete")[1] == "Unschedulable", what="the reason"
    )
    assert "Insufficient cpu" in condition(kubectl.get("lt", "ramp"), "Complete")["message"]


def test_a_job_that_gets_no_pod_is_reported(kubectl: Kubectl, operator: OperatorProcess) -> None:
    limit(kubectl, "pods", POD)
    begin(kubectl)
    eventually(
        lambda: status_and_reason(kubectl, "Complete")[1] == "NoPods", within=60, what="the reason"
    )


def test_a_refused_job_is_reported_and_made_once_it_is_allowed(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    limit(kubectl, "count/jobs.batch", JOB)
    kubectl.apply(load_test(**ANYWHERE))
    eventually(
        lambda: status_and_reason(kubectl, "Complete")[1] == "QuotaExceeded", what="the reason"
    )
    kubectl.delete("quota", "none")
    eventually(lambda: kubectl.list("jobs"), within=40, what="its Job")


def test_a_job_that_someone_deletes_is_a_lost_run_and_no_new_one(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    begin(kubectl)
    eventually(lambda: state(kubectl) == "Starting", what="the state")
    kubectl("delete", "jobs", "--all", "--cascade=foreground", "--wait=false")
    for pod in kubectl.list("pods", "diffusion.dev/loadtest=ramp"):
        kubectl.delete("pod", pod["metadata"]["name"], now=True, wait=False)
    eventually(lambda: state(kubectl) == "Failed", what="the end")
    assert status_and_reason(kubectl, "Failed") == ("True", "RunnerLost")
    assert "run-at" in condition(kubectl.get("lt", "ramp"), "Failed")["message"]


def test_a_lost_report_is_reported_missing_and_the_summary_stays(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = begin(kubectl)
    finish(kubectl, run)
    assert status_and_reason(kubectl, "ReportAvailable") == ("True", "Available")
    kubectl.delete("configmap", "ramp-loadtest")
    eventually(
        lambda: status_and_reason(kubectl, "ReportAvailable") == ("False", "ReportMissing"),
        what="the loss",
    )
    status = kubectl.status("lt", "ramp")
    assert (status["state"], status["summary"]["requests"]) == ("Complete", 200)


def test_a_config_map_deleted_in_mid_run_is_made_again_for_the_report(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = begin(kubectl)
    kubectl.delete("configmap", "ramp-loadtest")
    eventually(lambda: kubectl.find("configmap", "ramp-loadtest"), what="the ConfigMap again")
    finish(kubectl, run)


def test_missing_prompts_are_reported_and_the_run_waits_for_them(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    prompts = {"prompts": {"configMapRef": {"name": "words"}}}
    kubectl.apply(config_map("words", {"prompts.txt": " "}))
    kubectl.apply(load_test(**ANYWHERE, request=prompts))
    eventually(
        lambda: status_and_reason(kubectl, "Complete")[1] == "PromptsMissing", what="the reason"
    )
    message = condition(kubectl.get("lt", "ramp"), "Complete")["message"]
    assert message == "ConfigMap 'words' has no prompt under 'prompts.txt'"
    kubectl.patch("configmap", "words", {"data": {"prompts.txt": "a red circle"}})
    begun(kubectl)


def test_a_missing_key_is_reported_in_the_kubelets_words(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    begin(kubectl, auth={"apiKeySecretRef": {"name": "keys", "key": "api"}})
    pods = eventually(lambda: kubectl.list("pods", "diffusion.dev/loadtest=ramp"), what="its pod")
    (variable,) = [each for each in pods[0]["spec"]["containers"][0]["env"] if "valueFrom" in each]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": "api"}
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}
    container = {
        "name": "locust",
        "image": "loadtest:none",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": waiting},
    }
    status = {"status": {"containerStatuses": [container]}}
    kubectl.patch("pod", pods[0]["metadata"]["name"], status, "--subresource=status")
    eventually(
        lambda: status_and_reason(kubectl, "Complete")[1] == "SecretNotFound", what="the reason"
    )
    assert 'secret "keys" not found' in condition(kubectl.get("lt", "ramp"), "Complete")["message"]


def test_an_operator_that_finds_only_the_job_makes_no_second_one(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    run = begin(kubectl)
    operator.kill()
    kubectl.patch("lt", "ramp", {"status": None}, "--subresource=status")
    operator.start()
    eventually(lambda: state(kubectl) == "Starting", what="the run to be found again")
    assert [run_name(job) for job in runner_jobs(kubectl)] == [run]
    assert json.loads(runner_jobs(kubectl)[0]["metadata"]["annotations"]["diffusion.dev/run-of"])


@pytest.mark.full
def test_thirty_tests_of_three_targets_take_turns_and_all_finish(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    targets = {f"t{n:02}": f"http://127.0.0.1:{1 + n % 3}" for n in range(30)}
    manifests = [load_test(name, targetRef=None, url=url) for name, url in targets.items()]
    for manifest in manifests:
        kubectl.apply(manifest)
    begun_in_order: list[str] = []

    def all_finished() -> bool:
        tests = {test["metadata"]["name"]: test for test in kubectl.list("lt")}
        states = {name: (test.get("status") or {}).get("state") for name, test in tests.items()}
        jobs = {
            job["metadata"]["labels"]["diffusion.dev/loadtest"]: job
            for job in kubectl.list("jobs", "diffusion.dev/role=runner")
        }
        busy = [name for name in jobs if states[name] != "Complete"]
        assert len({targets[name] for name in busy}) == len(busy), "two at one target"
        for name in busy:
            if name not in begun_in_order:
                begun_in_order.append(name)
                publish(kubectl, "report.json", report(run_name(jobs[name])), name)
        return list(states.values()).count("Complete") == len(targets)

    eventually(all_finished, within=240, what="all to finish", every=0.5)
    assert sorted(begun_in_order) == sorted(targets)
