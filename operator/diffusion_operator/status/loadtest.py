"""The status of a LoadTest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from diffusion_operator.api.loadtest import (
    Figures,
    LoadTestStatus,
    Progress,
    ReportRef,
    StageFigures,
    Summary,
    Target,
)
from diffusion_operator.documents.load_report import (
    LoadProgress,
    LoadReport,
    ReportedFigures,
    ReportedStage,
)
from diffusion_operator.status.conditions import Verdict, conditions

REPORT_KEY = "report.json"
PROGRESS_KEY = "progress.json"


@dataclass(frozen=True)
class Ended:
    """A run that ended without a report, and why."""

    reason: str
    message: str


@dataclass(frozen=True)
class Observed:
    """What is known of the current run; at most one of the last four is set."""

    run: str
    target_name: str
    target_url: str
    target_backend: str
    report_name: str
    waiting: Ended | None = None
    progress: LoadProgress | None = None
    report: LoadReport | None = None
    failed: Ended | None = None


def is_over(test: Mapping[str, Any], run: str) -> bool:
    """Whether the status already holds the end of that run, which nothing changes any more."""
    status = test.get("status") or {}
    return status.get("run") == run and status.get("state") in {"Complete", "Failed"}


def test_status(test: Mapping[str, Any], observed: Observed, *, now: str) -> LoadTestStatus:
    """The whole status."""
    generation = test["metadata"]["generation"]
    previous = test.get("status") or {}
    state, verdicts = _verdicts(observed)
    report = observed.report
    return LoadTestStatus(
        observed_generation=generation,
        conditions=conditions(
            verdicts, previous=previous.get("conditions") or (), generation=generation, now=now
        ),
        state=state,
        run=observed.run,
        start_time=report.start_time if report else None,
        completion_time=report.completion_time if report else None,
        target=_target(observed),
        progress=_progress(observed.progress) if state == "Running" else None,
        summary=_summary(report) if report else None,
        stages=tuple(_stage(stage) for stage in report.stages) if report else None,
        report_ref=ReportRef(name=observed.report_name, key=REPORT_KEY) if report else None,
    )


test_status.__test__ = False  # type: ignore[attr-defined] # not for pytest to collect


def _verdicts(observed: Observed) -> tuple[str, list[Verdict]]:
    failed = observed.failed or (_failure(observed.report) if observed.report else None)
    if failed is not None:
        return "Failed", [
            Verdict("Complete", "False", failed.reason, "the run gave no figures to go by"),
            Verdict("Failed", "True", failed.reason, failed.message),
        ]
    not_failed = Verdict("Failed", "False", "NothingFailed", "nothing went wrong with the run")
    if observed.report is not None:
        summary = observed.report.summary
        message = f"{summary.requests} requests, {summary.failures} of them failed"
        return "Complete", [Verdict("Complete", "True", "Finished", message), not_failed]
    if observed.waiting is not None:
        reason, message = observed.waiting.reason, observed.waiting.message
        return "Waiting", [Verdict("Complete", "False", reason, message), not_failed]
    return "Running", [Verdict("Complete", "False", "Running", "the load is on"), not_failed]


def _failure(report: LoadReport) -> Ended | None:
    """Why a reported run is no test all the same: an all-failed run is never green."""
    if report.error is not None:
        return Ended(report.error.reason, report.error.message)
    summary = report.summary
    if summary.requests == 0:
        return Ended("NoRequests", "not one request ended: make the stages longer")
    if summary.failures == summary.requests:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(summary.failures_by_kind.items()))
        return Ended("AllRequestsFailed", f"every request failed: {kinds}")
    return None


def _target(observed: Observed) -> Target:
    about = (observed.report.target.about if observed.report else None) or {}

    def said(field: str) -> str:
        return str(about.get(field) or "")

    return Target(
        name=observed.target_name or (urlsplit(observed.target_url).hostname or ""),
        url=observed.target_url,
        backend=said("backend") or observed.target_backend,
        revision=said("revision"),
        model=said("source"),
        device=said("device"),
        precision=said("dtype"),
    )


def _progress(progress: LoadProgress | None) -> Progress | None:
    if progress is None:
        return None
    return Progress(
        stage=progress.stage,
        stages=progress.stages,
        users=progress.users,
        requests=progress.requests,
        failures=progress.failures,
    )


def _milliseconds(value: float | None) -> int | None:
    return None if value is None else round(value)


def _rate(value: float) -> str:
    """Three significant digits below ten, one decimal above: as precise as people read it."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"  # noqa: PLR2004 - as it says


def _figures(reported: ReportedFigures) -> Figures:
    return Figures(
        requests=reported.requests,
        failures=reported.failures,
        requests_per_second=_rate(reported.requests_per_second),
        p50=_milliseconds(reported.p50),
        p95=_milliseconds(reported.p95),
        p99=_milliseconds(reported.p99),
    )


def _stage(stage: ReportedStage) -> StageFigures:
    return StageFigures(
        **_figures(stage).model_dump(),
        users=stage.users,
        duration=f"{stage.duration_seconds:g}s",
    )


def _summary(report: LoadReport) -> Summary:
    summary = report.summary
    return Summary(
        **_figures(summary).model_dump(),
        peak_requests_per_second=_rate(summary.peak_requests_per_second),
        failures_per_second=_rate(summary.failures_per_second),
        max_users=summary.max_users,
        failures_by_kind=summary.failures_by_kind or None,
    )
