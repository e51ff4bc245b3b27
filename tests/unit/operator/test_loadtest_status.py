"""A LoadTest's status, computed from observations."""

from typing import Any

import pytest

from diffusion_operator.api.loadtest import LoadTestStatus
from diffusion_operator.api.state import RunState
from diffusion_operator.documents.load_report import LoadProgress, LoadReport
from diffusion_operator.kube.conditions import Verdict
from diffusion_operator.loadtest.analysis.run_identity import Run, RunIdentity
from diffusion_operator.loadtest.analysis.target import Disturbance, Snapshot
from diffusion_operator.loadtest.status import (
    Ended,
    KnownTarget,
    Observed,
    Unfinished,
    settled_status,
    test_status,
)

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"
RUN = Run("abc", RunIdentity("digest", "now", "r1"))
MEASURED = {"status": True, "reason": "Measured", "message": "nothing was in the way"}
FIGURES = {"requests": 10, "failures": 1, "requestsPerSecond": 2.345, "p50": 100.4, "p95": 200.6}


def report(**changes: Any) -> LoadReport:
    summary = {
        **FIGURES,
        "p99": None,
        "failuresByKind": {"Timeout": 1},
        "peakRequestsPerSecond": 12.34,
        "failuresPerSecond": 0.2,
        "maxUsers": 8,
        **changes.pop("summary", {}),
    }
    return LoadReport.model_validate(
        {
            "version": 1,
            "run": "abc",
            "startTime": NOW,
            "completionTime": NOW,
            "target": {
                "url": "http://x",
                "about": {"backend": "fastapi"},
                "fingerprint": {"backend": "fastapi", "revision": "r1", "device": "cpu"},
            },
            "summary": summary,
            "stages": [{**FIGURES, "p99": None, "users": 8, "durationSeconds": 90.0}],
            "error": None,
            "timeline": [],
            "valid": MEASURED,
            **changes,
        }
    )


def status(loadtest: Object, **observed: Any) -> LoadTestStatus:
    tested = KnownTarget("demo", "http://demo.shop.svc", "fastapi", observed.pop("snapshot", None))
    observations = Observed(RUN, "ramp-loadtest", tested=tested, **observed)
    return test_status(loadtest, observations, now=NOW)


def conditions(of: LoadTestStatus) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in of.conditions}


def test_figures_are_rounded_for_people_latencies_to_milliseconds(loadtest: Object) -> None:
    result = status(loadtest, report=report())
    assert result.state == "Complete"
    assert conditions(result) == {
        "Complete": ("True", "Finished"),
        "Failed": ("False", "NothingFailed"),
        "Valid": ("True", "Measured"),
        "ReportAvailable": ("True", "Available"),
    }
    assert (result.run, result.spec_digest, result.run_at) == ("abc", "digest", "now")
    assert result.summary is not None
    assert (result.summary.p50, result.summary.p95, result.summary.p99) == (100, 201, None)
    assert result.summary.requests_per_second == "2.345"
    assert result.summary.peak_requests_per_second == "12.34"
    assert result.summary.failures_by_kind == {"Timeout": 1}
    assert result.stages is not None
    assert result.stages[0].duration == "90s"
    assert result.report_ref is not None
    assert result.report_ref.name == "ramp-loadtest"


def test_a_run_whose_every_request_failed_is_never_complete(loadtest: Object) -> None:
    summary = {"requests": 7, "failures": 7, "failuresByKind": {"HTTP503": 4, "Timeout": 3}}
    result = status(loadtest, report=report(summary=summary))
    assert result.state == "Failed"
    assert conditions(result) == {
        "Complete": ("False", "AllRequestsFailed"),
        "Failed": ("True", "AllRequestsFailed"),
        "Valid": ("False", "AllRequestsFailed"),
        "ReportAvailable": ("True", "Available"),
    }
    assert "4 HTTP503, 3 Timeout" in result.conditions[1].message
    assert result.summary is not None  # the figures stay readable


def test_a_run_without_a_single_request_failed(loadtest: Object) -> None:
    result = status(loadtest, report=report(summary={"requests": 0, "failures": 0}))
    assert conditions(result)["Failed"] == ("True", "NoRequests")


def test_an_error_that_the_runner_reports_is_passed_on(loadtest: Object) -> None:
    error = {"reason": "TargetUnreachable", "message": "http://x does not answer"}
    result = status(loadtest, report=report(error=error))
    assert conditions(result)["Failed"] == ("True", "TargetUnreachable")


def test_an_unfinished_run_shows_its_state_and_reason(loadtest: Object) -> None:
    at = Unfinished(RunState.WAITING, "TargetNotFound", "there is no DiffusionService")
    result = status(loadtest, unfinished=at, has_slo=True)
    assert result.state == "Waiting"
    assert conditions(result) == {
        "Complete": ("False", "TargetNotFound"),
        "Failed": ("False", "NothingFailed"),
        "Valid": ("Unknown", "NotFinished"),
        "SLOMet": ("Unknown", "NotFinished"),
    }


def running(**changes: Any) -> LoadProgress:
    return LoadProgress.model_validate(
        {
            "version": 1,
            "run": "abc",
            "state": "Running",
            "stage": 1,
            "stages": 2,
            "users": 4,
            "requests": 9,
            "failures": 1,
            "requestsPerSecond": 2.345,
            "elapsedSeconds": 61.7,
            **changes,
        }
    )


def test_progress_fills_the_columns_during_the_run_and_is_gone_after(loadtest: Object) -> None:
    at = Unfinished(RunState.RUNNING, "Load", "the load is running")
    result = status(loadtest, unfinished=at, progress=running(p50=812.4))
    assert result.state == "Running"
    assert result.progress is not None
    assert (result.progress.requests, result.progress.elapsed_seconds) == (9, 62)
    assert result.shown is not None
    assert (result.shown.users, result.shown.requests_per_second) == (4, "2.345")
    assert (result.shown.p50, result.shown.p95, result.shown.failures) == (812, None, 1)
    ended = status(loadtest, report=report())
    assert ended.progress is None
    assert ended.shown is not None
    assert (ended.shown.users, ended.shown.p50) == (8, 100)


def test_the_targets_facts_are_its_own_and_its_image_is_the_one_that_ran(
    loadtest: Object,
) -> None:
    snapshot = Snapshot(uid="u", revision="r7", replicas=3, restarts={}, image="x@sha256:1")
    target = status(loadtest, report=report(), snapshot=snapshot).target
    assert target is not None
    assert (target.name, target.backend, target.revision) == ("demo", "fastapi", "r7")
    fingerprint = target.fingerprint
    assert fingerprint is not None
    assert (fingerprint.image, fingerprint.replicas) == ("x@sha256:1", 3)
    assert fingerprint.facts == {"device": "cpu"}
    more = status(loadtest, report=report(), snapshot=snapshot.model_copy(update={"replicas": 4}))
    assert more.target is not None
    assert more.target.fingerprint is not None
    assert more.target.fingerprint.digest != fingerprint.digest


SLO_MET = {"met": True, "checks": [], "message": "p95 is 201 ms of 8000"}
SLO_MISSED = {"met": False, "checks": [], "message": "p95 is 9000 ms of 8000"}


@pytest.mark.parametrize(
    ("slo", "expected"),
    [(SLO_MET, ("True", "WithinSLO")), (SLO_MISSED, ("False", "BeyondSLO"))],
)
def test_the_slos_verdict_is_independent_of_the_validity(
    loadtest: Object, slo: Object, expected: tuple[str, str]
) -> None:
    saturated = {"status": False, "reason": "ClientSaturated", "message": "one core at 98%"}
    result = status(loadtest, report=report(slo=slo, valid=saturated), has_slo=True)
    assert conditions(result)["SLOMet"] == expected
    assert conditions(result)["Valid"] == ("False", "ClientSaturated")
    assert result.state == "Complete"


def test_a_failed_run_has_no_verdict_on_its_slo_whatever_its_figures(loadtest: Object) -> None:
    error = {"reason": "Interrupted", "message": "stopped after 3 s"}
    # an older runner reports of an interrupted run that every figure is within its limit
    result = status(loadtest, report=report(slo=SLO_MET, error=error), has_slo=True)
    assert conditions(result)["SLOMet"] == ("Unknown", "Interrupted")
    assert "no verdict: stopped after 3 s" in {each.message for each in result.conditions}
    assert conditions(result)["Failed"] == ("True", "Interrupted")


def test_a_run_whose_every_request_failed_missed_its_slo(loadtest: Object) -> None:
    summary = {"requests": 7, "failures": 7, "failuresByKind": {"HTTP503": 7}}
    result = status(loadtest, report=report(slo=SLO_MET, summary=summary), has_slo=True)
    assert conditions(result)["SLOMet"] == ("False", "AllRequestsFailed")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("UsersNotReached", "Unknown"),
        ("Unconfirmed", "Unknown"),
        ("Overloaded", "False"),
        ("BeyondSLO", "False"),
    ],
)
def test_the_runners_reason_against_the_slo_is_passed_on(
    loadtest: Object, reason: str, expected: str
) -> None:
    result = status(loadtest, report=report(slo={**SLO_MISSED, "reason": reason}), has_slo=True)
    assert conditions(result)["SLOMet"] == (expected, reason)


def test_an_overloaded_target_is_reported_without_an_slo_too(loadtest: Object) -> None:
    stage = {**FIGURES, "p99": None, "users": 8, "durationSeconds": 90.0, "ratePerSecond": 25.0}
    window = {**stage, "stage": 1, "overload": "the target answered 20 of 25 requests/s"}
    result = status(loadtest, report=report(stages=[stage], window=window))
    assert "overloaded: the target answered 20 of 25" in result.conditions[0].message
    assert result.window is not None
    assert result.window.overload == "the target answered 20 of 25 requests/s"


def test_columns_show_the_figures_that_the_verdicts_judge(loadtest: Object) -> None:
    stage = {**FIGURES, "p99": None, "users": 8, "usersReached": 8, "durationSeconds": 90.0}
    window = {**stage, "stage": 2, "p50": 700.0, "failures": 0, "withinSlo": True}
    result = status(loadtest, report=report(stages=[stage, window], window=window))
    assert result.window is not None
    assert (result.window.stage, result.window.users, result.window.p50) == (2, 8, 700)
    assert result.shown is not None
    assert (result.shown.p50, result.shown.failures, result.shown.users) == (700, 1, 8)
    assert result.summary is not None
    assert result.summary.p50 == 100


def test_the_operators_observation_of_the_target_goes_before_the_runners_verdict(
    loadtest: Object,
) -> None:
    scaled = Disturbance(reason="TargetScaled", message="from 1 replicas to 2")
    result = status(loadtest, report=report(), disturbance=scaled)
    assert conditions(result)["Valid"] == ("False", "TargetScaled")
    assert result.state == "Complete"


@pytest.mark.parametrize(
    ("names", "autoscaling", "clause"),
    [
        (("a", "b"), "", "only 2 of 3 replicas got requests"),
        (("a", "unknown"), "", "only 1 of 3 replicas got requests"),
        (("a", "b", "c"), "", ""),
        # a foreign server, or an older serving image
        ((), "", ""),
        (("unknown",), "", ""),
        (("a",), '{"maxReplicas": 3}', ""),
    ],
)
def test_replicas_without_requests_are_counted(
    loadtest: Object, names: tuple[str, ...], autoscaling: str, clause: str
) -> None:
    before = Snapshot(uid="u", revision="r1", replicas=3, restarts={}, autoscaling=autoscaling)
    replicas = [{"name": name, "requests": 9} for name in names]
    result = status(loadtest, report=report(replicas=replicas), snapshot=before)
    (valid,) = (each for each in result.conditions if each.type == "Valid")
    assert (valid.status, valid.reason) == ("True", "Measured")
    assert valid.message == f"{MEASURED['message']}{clause and f'; {clause}'}"


def test_a_runner_of_an_older_version_leaves_validity_open(loadtest: Object) -> None:
    assert conditions(status(loadtest, report=report(valid=None)))["Valid"] == (
        "Unknown",
        "NotJudged",
    )


def test_a_run_ended_for_a_reason_keeps_its_figures_and_says_the_reason(loadtest: Object) -> None:
    gone = Ended("TargetDeleted", "the target was deleted during the run")
    result = status(loadtest, report=report(), failed=gone)
    assert conditions(result)["Failed"] == ("True", "TargetDeleted")
    assert result.summary is not None


def test_a_search_reports_its_knee(loadtest: Object) -> None:
    probe = {**FIGURES, "p99": None, "users": 0, "durationSeconds": 60, "ratePerSecond": 2.5}
    result = status(
        loadtest,
        report=report(
            summary={"maxUsersWithinSlo": 24, "maxRateWithinSlo": 2.5},
            stages=[{**probe, "withinSlo": True}],
        ),
    )
    assert (result.max_users_within_slo, result.max_rate_within_slo) == (24, "2.5")
    text = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert text["maxUsersWithinSLO"] == 24
    assert text["stages"][0]["withinSLO"] is True
    assert text["stages"][0]["ratePerSecond"] == "2.5"


def settled(
    loadtest: Object, comparison: Verdict | None = None, *, there: bool, limit: int = 5
) -> LoadTestStatus:
    return settled_status(
        loadtest, comparison, report_there=there, history_limit=limit, now="later"
    )


def test_the_status_of_an_ended_run_changes_only_if_its_report_is_gone(loadtest: Object) -> None:
    before = status(loadtest, report=report())
    loadtest["status"] = before.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert settled(loadtest, there=True) == before
    after = settled(loadtest, there=False)
    assert conditions(after)["ReportAvailable"] == ("False", "ReportMissing")
    assert after.summary == before.summary
    assert conditions(after)["Complete"] == ("True", "Finished")


def test_an_ended_run_gets_and_loses_the_verdict_of_its_baseline(loadtest: Object) -> None:
    before = status(loadtest, report=report())
    loadtest["status"] = before.model_dump(mode="json", by_alias=True, exclude_none=True)
    after = settled(loadtest, Verdict("Regressed", "True", "Slower", "by 9%"), there=True)
    assert conditions(after)["Regressed"] == ("True", "Slower")
    loadtest["status"] = after.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert settled(loadtest, there=True) == before
