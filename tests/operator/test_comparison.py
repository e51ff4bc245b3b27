"""Comparisons against a real API server; the tests play the kubelet and the runners."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kubectl import Kubectl, KubectlError, condition, eventually
from local_prometheus import Answer, LocalPrometheus, vector
from manifests import API_VERSION, config_map
from operator_process import OperatorProcess
from played_study import LOAD, SERVICE, SPEEDS, TWO, PlayedStudy, comparison

Object = dict[str, Any]


def row(status: Object, variant: str) -> Object:
    (result,) = [each for each in status["results"] if each["variant"] == variant]
    return dict(result)


def ended(status: Object) -> list[tuple[str, int]]:
    return [
        (run["variant"], run["repetition"])
        for run in status.get("runs", ())
        if "completionTime" in run
    ]


@contextmanager
def short_ready_timeout(kubectl: Kubectl) -> Iterator[None]:
    """Sets the shortest readyTimeout, for a variant that never gets Ready and for no other."""
    kubectl.patch("cmp", "study", {"spec": {"readyTimeout": "10s"}})
    yield
    kubectl.patch("cmp", "study", {"spec": {"readyTimeout": "10m"}})


def test_variants_take_turns_on_the_hardware_and_end_in_a_ranked_table(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison(repetitions=2))
    study = PlayedStudy(kubectl, SPEEDS)
    status = study.until_over()
    assert status["state"] == "Complete", status
    assert study.order == ["slow-1", "fast-1", "fast-2", "slow-2"]
    assert study.services == {frozenset({"study-slow"}), frozenset({"study-fast"})}
    assert [len(pods) for pods in study.served] == [1, 1, 1, 1]
    assert len(frozenset.union(*study.served)) == 4, "two repetitions shared a pod"
    assert [(result["variant"], result["rank"]) for result in status["results"]] == [
        ("fast", 1),
        ("slow", 2),
    ]
    for result in status["results"]:
        assert result["runs"] == 2
        assert result["tax"] == {"queue": 10}
        assert result["memoryBytes"] == 2_000_000_000
        for figure in ("requestsPerSecond", "p50", "p95", "p99", "efficiency"):
            assert float(result[figure]["mean"]) > 0, figure
    assert all("ready" in run["coldStart"] for run in status["runs"])
    header, shown = kubectl("get", "comparisons").splitlines()
    assert header.split() == ["NAME", "STATE", "VARIANT-NOW", "PROGRESS", "RECOMMENDED", "AGE"]
    assert shown.split()[:3] == ["study", "Complete", "4/4"]
    assert condition(kubectl.get("cmp", "study"), "Comparable")["status"] == "True"
    reference = status["reportRef"]
    written = kubectl.get("configmap", reference["name"])["data"][reference["key"]]
    assert len(json.loads(written)["loads"]) == 4
    assert kubectl.list("dsvc") == []
    assert len(kubectl.list("lt")) == 4

    kubectl.delete("lt", "study-fast-1")
    kubectl.patch("cmp", "study", {"spec": {"cooldown": "2s"}})
    eventually(
        lambda: kubectl.status("cmp", "study").get("observedGeneration") == 2, what="a reconcile"
    )
    kept = kubectl.get("configmap", reference["name"])["data"][reference["key"]]
    assert kept == written, "the report lost the part of a deleted load test"

    kubectl.delete("cmp", "study")
    eventually(
        lambda: (
            not kubectl.list("lt")
            and kubectl.find("configmap", reference["name"]) is None
            and kubectl.find("configmap", "study-fast-1-loadtest") is None
        ),
        what="no child to be left",
    )


def test_an_operator_killed_in_each_turn_goes_on_where_it_was(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison(repetitions=3))
    study = PlayedStudy(kubectl, SPEEDS)
    for turn in range(5):
        study.until(lambda status, turn=turn: len(ended(status)) > turn, f"turn {turn}")  # type: ignore[misc]
        operator.kill()
        operator.start()
    status = study.until_over()
    assert status["state"] == "Complete", status
    assert study.order == ["slow-1", "fast-1", "fast-2", "slow-2", "slow-3", "fast-3"]
    assert ended(status) == [
        ("slow", 1),
        ("fast", 1),
        ("fast", 2),
        ("slow", 2),
        ("slow", 3),
        ("fast", 3),
    ]
    assert [(result["variant"], result["runs"]) for result in status["results"]] == [
        ("fast", 3),
        ("slow", 3),
    ]
    assert status["recommended"] == "fast"
    assert study.services == {frozenset({"study-slow"}), frozenset({"study-fast"})}


def test_a_suspended_comparison_frees_the_hardware_and_resumes_its_repetition(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison())
    study = PlayedStudy(kubectl, SPEEDS)
    running = study.until(lambda status: status.get("variant") == "fast", "the second variant")
    assert running["conclusion"] == running["recommended"] == "", "a verdict before the end"
    kubectl.patch("cmp", "study", {"spec": {"suspend": True}})
    study.until(lambda status: status.get("state") == "Suspended", "the pause")
    study.until(lambda _: not kubectl.list("pods", "diffusion.dev/service"), "no pod to be left")
    assert kubectl.list("dsvc") == []
    assert ended(kubectl.status("cmp", "study")) == [("slow", 1)]
    kubectl.patch("cmp", "study", {"spec": {"suspend": False}})
    status = study.until_over()
    assert status["state"] == "Complete", status
    assert ended(status) == [("slow", 1), ("fast", 1)]


def test_a_variant_that_is_renamed_in_the_middle_leaves_the_hardware_first(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison())
    eventually(
        lambda: [
            pod
            for pod in kubectl.list("pods", "diffusion.dev/service=study-slow")
            if "nodeName" in pod["spec"]
        ],
        what="a pod on its node",
    )
    kubectl.patch("cmp", "study", {"spec": {"variants": [{**TWO[0], "name": "tardy"}, TWO[1]]}})
    eventually(lambda: kubectl.find("dsvc", "study-slow") is None, what="its service to be gone")
    waiting = "waiting until study-slow and its pods are gone"
    eventually(
        lambda: waiting in condition(kubectl.get("cmp", "study"), "Complete").get("message", ""),
        what="the wait for its pods, which have not ended",
    )
    study = PlayedStudy(kubectl, {"tardy": 5.0, "fast": 8.0})
    assert study.until_over()["state"] == "Complete"
    assert all(len(together) == 1 for together in study.services), study.services


def test_a_second_comparison_waits_until_the_first_frees_the_hardware(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison())
    eventually(lambda: kubectl.status("cmp", "study").get("state"), what="the first to begin")
    kubectl.apply(comparison("another"))
    study = PlayedStudy(kubectl, SPEEDS)
    eventually(lambda: kubectl.status("cmp", "another").get("state") == "Waiting", what="the queue")
    complete = condition(kubectl.get("cmp", "another"), "Complete")
    assert complete["reason"] == "HardwareInUse"
    assert "study goes first" in complete["message"]
    study.until(lambda status: bool(status.get("variant")), "the first variant")
    operator.kill()
    operator.start()
    assert study.until_over()["state"] == "Complete"
    study.until(
        lambda _: any("another-slow" in names for names in study.services), "the second one's turn"
    )
    assert all(len(names) == 1 for names in study.services), study.services


def test_a_comparison_deleted_in_the_middle_leaves_nothing(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison())
    eventually(lambda: kubectl.list("pods", "diffusion.dev/service"), what="a pod")
    kubectl.delete("cmp", "study")
    kinds = ("dsvc", "lt", "deployments", "jobs")
    eventually(lambda: not any(kubectl.list(kind) for kind in kinds), what="no child to be left")


def test_failed_variants_have_their_reasons_and_the_others_are_ranked(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    never = {"name": "never", "service": {"batching": {"maxSize": 2}}}
    failing = {"name": "failing", "service": {"batching": {"maxSize": 3}}}
    refused = {"name": "refused", "service": {"batching": {"mode": "framework"}}}
    kubectl.apply(comparison(variants=[never, failing, refused, *TWO]))
    study = PlayedStudy(kubectl, {**SPEEDS, "failing": 1.0}, frozenset({"failing"}))
    with short_ready_timeout(kubectl):
        study.until(lambda status: status.get("variant") == "failing", "the end of the wait")
    status = study.until_over()
    assert status["state"] == "Complete", status
    assert [result["variant"] for result in status["results"][:2]] == ["fast", "slow"]
    assert row(status, "never")["reason"] == "NotReady"
    assert row(status, "failing")["reason"] == "AllRequestsFailed"
    assert row(status, "failing")["failures"] == 200
    assert row(status, "refused")["reason"] == "Refused"
    assert "FastAPI has no batching of its own" in row(status, "refused")["message"]


@pytest.mark.parametrize(
    ("kind", "child", "reason"),
    [("lt", "study-slow-1", "LoadTestDeleted"), ("dsvc", "study-slow", "ServiceDeleted")],
)
def test_a_deleted_child_is_reported_and_the_others_go_on(
    kubectl: Kubectl, operator: OperatorProcess, kind: str, child: str, reason: str
) -> None:
    kubectl.apply(comparison())
    pods_alone = PlayedStudy(kubectl, SPEEDS, silent=True)
    pods_alone.until(
        lambda status: status.get("runs", [{}])[-1].get("state") == "Testing", "the first test"
    )
    kubectl.delete(kind, child)
    status = PlayedStudy(kubectl, SPEEDS).until_over()
    assert status["state"] == "Complete", status
    assert row(status, "slow")["reason"] == reason
    assert row(status, "fast")["rank"] == 1


def test_another_owners_object_with_a_childs_name_stays_and_the_others_are_ranked(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    theirs: Object = {
        "apiVersion": API_VERSION,
        "kind": "DiffusionService",
        "metadata": {"name": "study-slow"},
        "spec": SERVICE,
    }
    test: Object = {
        "apiVersion": API_VERSION,
        "kind": "LoadTest",
        "metadata": {"name": "study-fast-1"},
        "spec": {"url": "http://elsewhere.example", "suspend": True, **LOAD},
    }
    kubectl.apply(theirs)
    kubectl.apply(test)
    eventually(lambda: kubectl.list("pods", "diffusion.dev/service=study-slow"), what="its pod")
    kubectl.apply(comparison(variants=[*TWO, {"name": "third", "service": {}}]))
    status = PlayedStudy(kubectl, {**SPEEDS, "third": 6.0}).until_over()
    assert status["state"] == "Complete", status
    assert [(result["variant"], result["reason"]) for result in status["results"]] == [
        ("third", ""),
        ("slow", "NameTaken"),
        ("fast", "NameTaken"),
    ]
    assert kubectl.find("dsvc", "study-slow")
    kubectl.patch("cmp", "study", {"spec": {"suspend": True, "repetitions": 2}})
    eventually(lambda: kubectl.status("cmp", "study").get("state") == "Suspended", what="the pause")
    assert kubectl.find("lt", "study-fast-1")


def test_a_load_test_that_does_not_begin_is_quoted_and_the_others_go_on(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    missing = {"request": {"prompts": {"configMapRef": {"name": "nowhere"}}}}
    never = {"name": "never", "loadTest": missing}
    kubectl.apply(comparison(variants=[never, *TWO]))
    study = PlayedStudy(kubectl, {**SPEEDS, "never": 1.0})
    study.until(
        lambda _: (
            "PromptsMissing: there is no ConfigMap 'nowhere'"
            in condition(kubectl.get("cmp", "study"), "Complete").get("message", "")
        ),
        "the LoadTest's message",
    )
    with short_ready_timeout(kubectl):
        study.until(lambda status: status.get("variant") == "slow", "the end of the wait")
    status = study.until_over()
    assert status["state"] == "Complete", status
    assert row(status, "never")["reason"] == "NotBegun"
    assert kubectl.find("lt", "study-never-1") is None, (
        "the load test could begin later, beside others"
    )


def test_a_comparison_with_an_invalid_change_frees_the_hardware(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(comparison())
    eventually(lambda: kubectl.list("dsvc"), what="the first service")
    typo = {"name": "typo", "service": {"backend": "flask"}}
    kubectl.patch("cmp", "study", {"spec": {"variants": [*TWO, typo]}})
    eventually(lambda: not kubectl.list("dsvc"), what="the service to be gone")
    eventually(lambda: kubectl.status("cmp", "study").get("state") == "Failed", what="the verdict")


def test_a_report_that_cannot_be_written_is_reported_and_the_figures_stay(
    kubectl: Kubectl, operator: OperatorProcess
) -> None:
    kubectl.apply(config_map("study-comparison", {}))
    kubectl.apply(comparison())
    status = PlayedStudy(kubectl, SPEEDS).until_over()
    assert status["state"] == "Complete", status
    assert status["results"][0]["variant"] == "fast"
    assert "reportRef" not in status
    message = condition(kubectl.get("cmp", "study"), "Complete")["message"]
    assert "its report is not written: ConfigMap study-comparison exists" in message
    kubectl.delete("configmap", "study-comparison")
    eventually(lambda: "reportRef" in kubectl.status("cmp", "study"), within=40, what="the report")


def test_energy_and_utilisation_come_from_prometheus_and_are_unknown_without_a_sample(
    kubectl: Kubectl, operator: OperatorProcess, prometheus: LocalPrometheus
) -> None:
    def of_the_fast_one(query: str) -> Answer:
        return vector("408") if query == f"energy of {kubectl.namespace}/study-fast, 60s" else none

    none = vector()
    prometheus.answer = of_the_fast_one
    queries = {"energyJoules": "energy of $namespace/$service, $window"}
    kubectl.apply(comparison(prometheus=queries))
    status = PlayedStudy(kubectl, SPEEDS).until_over()
    assert status["state"] == "Complete", status
    # The energy is of 200 requests and 4 of the warm-up.
    assert row(status, "fast")["joulesPerImage"] == "2"
    assert row(status, "slow")["unknown"]["joulesPerImage"] == (
        "Prometheus has no sample for the query"
    )
    assert "joulesPerImage" not in row(status, "slow")
    assert "no GPU" in row(status, "fast")["unknown"]["gpuUtilisation"]


def test_changed_fields_begin_a_new_run(kubectl: Kubectl, operator: OperatorProcess) -> None:
    kubectl.apply(comparison())
    first = PlayedStudy(kubectl, SPEEDS).until_over()
    longer = {"users": {"stages": [{"users": 3, "duration": "5s"}]}}
    kubectl.patch("cmp", "study", {"spec": {"loadTest": longer}})
    study = PlayedStudy(kubectl, SPEEDS)
    study.until(lambda status: status["run"] != first["run"], "a new run")
    assert study.until_over()["state"] == "Complete"
    tests = [test["spec"]["users"]["stages"] for test in kubectl.list("lt")]
    assert tests == [longer["users"]["stages"]] * 2


def test_an_invalid_variant_is_reported(kubectl: Kubectl, operator: OperatorProcess) -> None:
    kubectl.apply(comparison(variants=[*TWO, {"name": "typo", "service": {"backend": "flask"}}]))
    eventually(lambda: kubectl.status("cmp", "study").get("state") == "Failed", what="the verdict")
    failed = condition(kubectl.get("cmp", "study"), "Failed")
    assert failed["reason"] == "InvalidVariant"
    assert "variant typo: service.backend" in failed["message"]
    assert kubectl.list("dsvc") == []


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"variants": [TWO[0]]}, "should have at least 2 items"),
        ({"variants": [TWO[0], TWO[0]]}, "two variants have the same name: give each its own"),
        ({"variants": [*TWO, {"name": "With Space"}]}, "spec.variants[2].name"),
        ({"cooldown": "a while"}, "write a duration such as 90s"),
        ({"cooldown": "2h"}, "cooldown is at most 1h"),
        ({"readyTimeout": "1s"}, "readyTimeout is between 10s and 24h"),
        ({"prometheus": {"energy": "e"}}, "unknown field"),
        ({"prometheus": {"energyJoules": ""}}, "prometheus.energyJoules"),
        ({"repetitions": 0}, "greater than or equal to 1"),
        ({"loadTest": {}}, "say how much load: set users.stages"),
        ({"loadTest": {**LOAD, "arrivals": {"stages": []}}}, "exactly one of them"),
        ({"service": {**SERVICE, "backend": "flask"}}, "Unsupported value"),
        ({"service": {**SERVICE, "model": {"source": "demo"}}}, "model.source"),
    ],
)
def test_a_bad_comparison_is_refused(refusing: Kubectl, spec: Object, sentence: str) -> None:
    with pytest.raises(KubectlError) as refused:
        refusing.apply(comparison(**spec))
    assert sentence in str(refused.value)


def test_a_name_that_leaves_no_room_for_its_childrens_is_refused(refusing: Kubectl) -> None:
    with pytest.raises(KubectlError, match="at most 30 characters"):
        refusing.apply(comparison("n" * 31))
