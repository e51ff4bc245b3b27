"""What a LoadTest's status says of what is observed."""

from typing import Any

import pytest

from diffusion_operator.api.loadtest import LoadTestStatus
from diffusion_operator.documents.load_report import LoadProgress, LoadReport
from diffusion_operator.status.loadtest import Ended, Observed, is_over, test_status

Object = dict[str, Any]
NOW = "2026-01-02T03:04:05Z"
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
            "target": {"url": "http://x", "about": {"backend": "fastapi", "device": "cpu"}},
            "summary": summary,
            "stages": [{**FIGURES, "p99": None, "users": 8, "durationSeconds": 90.0}],
            "error": None,
            "timeline": [],
            **changes,
        }
    )


def status(loadtest: Object, **observed: Any) -> LoadTestStatus:
    seen = Observed("abc", "demo", "http://demo.shop.svc", "fastapi", "ramp-loadtest", **observed)
    return test_status(loadtest, seen, now=NOW)


def said(found: LoadTestStatus) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in found.conditions}


def test_figures_are_rounded_for_people_latencies_to_milliseconds(loadtest: Object) -> None:
    found = status(loadtest, report=report())
    assert found.state == "Complete"
    assert said(found) == {
        "Complete": ("True", "Finished"),
        "Failed": ("False", "NothingFailed"),
    }
    assert found.summary is not None
    assert (found.summary.p50, found.summary.p95, found.summary.p99) == (100, 201, None)
    assert found.summary.requests_per_second == "2.35"
    assert found.summary.peak_requests_per_second == "12.3"
    assert found.summary.failures_by_kind == {"Timeout": 1}
    assert found.stages is not None
    assert found.stages[0].duration == "90s"
    assert found.report_ref is not None
    assert found.report_ref.name == "ramp-loadtest"


def test_a_run_whose_every_request_failed_is_never_green(loadtest: Object) -> None:
    summary = {"requests": 7, "failures": 7, "failuresByKind": {"HTTP503": 4, "Timeout": 3}}
    found = status(loadtest, report=report(summary=summary))
    assert found.state == "Failed"
    assert said(found) == {
        "Complete": ("False", "AllRequestsFailed"),
        "Failed": ("True", "AllRequestsFailed"),
    }
    assert "4 HTTP503, 3 Timeout" in found.conditions[1].message
    assert found.summary is not None  # the figures stay to be looked at


def test_a_run_without_a_single_request_failed(loadtest: Object) -> None:
    found = status(loadtest, report=report(summary={"requests": 0, "failures": 0}))
    assert said(found)["Failed"] == ("True", "NoRequests")


def test_an_error_that_the_runner_reports_is_passed_on(loadtest: Object) -> None:
    error = {"reason": "TargetUnreachable", "message": "http://x does not answer"}
    found = status(loadtest, report=report(error=error))
    assert said(found)["Failed"] == ("True", "TargetUnreachable")


def test_waiting_says_what_for(loadtest: Object) -> None:
    found = status(loadtest, waiting=Ended("TargetNotFound", "there is no DiffusionService"))
    assert found.state == "Waiting"
    assert said(found)["Complete"] == ("False", "TargetNotFound")
    assert said(found)["Failed"][0] == "False"


def test_progress_is_shown_while_it_runs_and_gone_after(loadtest: Object) -> None:
    progress = LoadProgress.model_validate(
        {
            "version": 1,
            "run": "abc",
            "state": "Running",
            "stage": 1,
            "stages": 2,
            "users": 4,
            "requests": 9,
            "failures": 0,
        }
    )
    running = status(loadtest, progress=progress)
    assert running.state == "Running"
    assert running.progress is not None
    assert running.progress.requests == 9
    assert status(loadtest, report=report()).progress is None


def test_the_target_calls_itself_what_its_about_page_says(loadtest: Object) -> None:
    target = status(loadtest, report=report()).target
    assert target is not None
    assert (target.name, target.backend, target.device) == ("demo", "fastapi", "cpu")


@pytest.mark.parametrize(
    ("shown", "over"),
    [
        ({"run": "abc", "state": "Complete"}, True),
        ({"run": "abc", "state": "Failed"}, True),
        ({"run": "abc", "state": "Running"}, False),
        ({"run": "old", "state": "Complete"}, False),
        ({}, False),
    ],
)
def test_only_the_end_of_this_very_run_is_final(
    loadtest: Object, shown: Object, *, over: bool
) -> None:
    loadtest["status"] = shown
    assert is_over(loadtest, "abc") is over
