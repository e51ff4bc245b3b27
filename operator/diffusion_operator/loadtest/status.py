"""Status of a LoadTest, a pure function of what is observed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from diffusion_operator.api.fields import shown
from diffusion_operator.api.loadtest import (
    Figures,
    Fingerprint,
    LoadTestStatus,
    Progress,
    ReportRef,
    Shown,
    StageFigures,
    Summary,
    Target,
    WindowFigures,
)
from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.api.state import RunState
from diffusion_operator.documents.load_report import (
    REPORT_KEY,
    LoadProgress,
    LoadReport,
    ReportedFigures,
    ReportedStage,
)
from diffusion_operator.kube.conditions import Verdict, conditions
from diffusion_operator.kube.metadata import digest
from diffusion_operator.loadtest.analysis.history import history
from diffusion_operator.loadtest.analysis.regression import REGRESSED, Baseline, regressed
from diffusion_operator.loadtest.analysis.run_identity import Run, RunIdentity
from diffusion_operator.loadtest.analysis.target import Disturbance, Snapshot

_ALL_FAILED = "AllRequestsFailed"
_NO_VERDICT = frozenset({"UsersNotReached", "Unconfirmed"})
"""Reasons of the runner with which SLOMet is neither true nor false."""
NO_RUN = Run("", RunIdentity(""))
_MOST_FACTS, _LONGEST_FACT, _LONGEST_NAME, _MOST_KINDS = 64, 256, 63, 64
_UNKNOWN_REPLICA = "unknown"
_LONGEST_SENTENCE = 512


@dataclass(frozen=True)
class Ended:
    """Failure of a run without usable figures."""

    reason: str
    message: str


@dataclass(frozen=True)
class Unfinished:
    """State of a run that has not ended, with the reason."""

    phase: RunState
    reason: str
    message: str


@dataclass(frozen=True)
class KnownTarget:
    """Facts about the target that need no request to it."""

    name: str = ""
    url: str = ""
    backend: str = ""
    snapshot: Snapshot | None = None


@dataclass(frozen=True)
class Observed:
    """Observed state of the current run; one of ``unfinished``, ``failed`` and ``report`` is set.

    A report may stand beside ``failed``: its figures are of an interrupted run.
    """

    run: Run
    report_name: str
    tested: KnownTarget = field(default_factory=KnownTarget)
    has_slo: bool = False
    history_limit: int = 5
    unfinished: Unfinished | None = None
    progress: LoadProgress | None = None
    report: LoadReport | None = None
    failed: Ended | None = None
    disturbance: Disturbance | None = None
    baseline: Baseline | None = None


def test_status(test: Mapping[str, Any], observed: Observed, *, now: str) -> LoadTestStatus:
    """Compute the whole status."""
    generation = test["metadata"]["generation"]
    previous = ObservedLoadTest.of(test)
    report, run = observed.report, observed.run
    failed = observed.failed or (_failure(report) if report else None)
    running = observed.unfinished is not None and observed.unfinished.phase is RunState.RUNNING
    progress = observed.progress if running else None
    return LoadTestStatus(
        observed_generation=generation,
        conditions=conditions(
            _verdicts(observed, failed),
            previous=previous.conditions,
            generation=generation,
            now=now,
        ),
        state=_state(observed, failed),
        run=run.name,
        spec_digest=run.of.spec,
        run_at=run.of.run_at,
        start_time=report.start_time if report else None,
        completion_time=report.completion_time if report else None,
        target=_target(observed, previous),
        progress=_progress(progress) if progress else None,
        shown=_shown_after(report) if report else _shown_meanwhile(progress) if progress else None,
        summary=_summary(report) if report else None,
        stages=tuple(_stage(stage) for stage in report.stages) if report else None,
        window=_window(report) if report else None,
        max_users_within_slo=report.summary.max_users_within_slo if report else None,
        max_rate_within_slo=_highest_rate(report) if report else None,
        report_ref=ReportRef(name=observed.report_name, key=REPORT_KEY) if report else None,
        history=history(test.get("status") or {}, run.name, observed.history_limit) or None,
    )


test_status.__test__ = False  # type: ignore[attr-defined] # not for pytest to collect


def settled_status(
    test: Mapping[str, Any],
    comparison: Verdict | None,
    *,
    report_there: bool,
    history_limit: int,
    now: str,
) -> LoadTestStatus:
    """Status of an ended run; everything stays but a lost report and another baseline.

    ``comparison`` is the verdict against the spec's baseline, if there is one.

    Raises:
        pydantic.ValidationError: Another version of the operator wrote the status.
    """
    generation = test["metadata"]["generation"]
    previous = test["status"]
    kept = LoadTestStatus.model_validate(previous)
    verdicts = [
        Verdict(each.type, each.status, each.reason, each.message)
        for each in kept.conditions
        if each.type not in {REGRESSED, "ReportAvailable"}
    ]
    if comparison is not None:
        verdicts.append(comparison)
    if kept.report_ref is not None:
        verdicts.append(_availability(kept.report_ref.name, there=report_there))
    return kept.model_copy(
        update={
            "observed_generation": generation,
            "conditions": conditions(
                verdicts,
                previous=ObservedLoadTest.of(test).conditions,
                generation=generation,
                now=now,
            ),
            "history": history(previous, kept.run, history_limit) or None,
        }
    )


def _availability(name: str, *, there: bool) -> Verdict:
    if there:
        return Verdict("ReportAvailable", "True", "Available", f"the report is in ConfigMap {name}")
    message = f"ConfigMap {name} has no report of this run any more; the summary is kept here"
    return Verdict("ReportAvailable", "False", "ReportMissing", message)


def _state(observed: Observed, failed: Ended | None) -> RunState:
    if failed is not None:
        return RunState.FAILED
    return observed.unfinished.phase if observed.unfinished else RunState.COMPLETE


def _verdicts(observed: Observed, failed: Ended | None) -> list[Verdict]:
    valid = _valid(observed, failed)
    verdicts = [*_ends(observed, failed), valid]
    if observed.has_slo:
        verdicts.append(_slo_met(observed, failed))
    if observed.baseline is not None:
        report = observed.report if valid.status == "True" else None
        verdicts.append(regressed(report, observed.baseline))
    if observed.report is not None:
        verdicts.append(_availability(observed.report_name, there=True))
    return verdicts


def _ends(observed: Observed, failed: Ended | None) -> tuple[Verdict, Verdict]:
    """Conditions Complete and Failed."""
    if failed is not None:
        return (
            Verdict("Complete", "False", failed.reason, "the run gave no figures to go by"),
            Verdict("Failed", "True", failed.reason, failed.message),
        )
    not_failed = Verdict("Failed", "False", "NothingFailed", "nothing went wrong with the run")
    if observed.report is not None:
        summary = observed.report.summary
        message = f"{summary.requests} requests, {summary.failures} of them failed"
        if summary.refused:
            share = 100 * summary.refused / summary.requests
            message = f"{message}; the target refused {summary.refused} ({share:.0f} %)"
        window = observed.report.window
        if window is not None and window.overload is not None:
            message = f"{message}; overloaded: {window.overload[:_LONGEST_SENTENCE]}"
        return Verdict("Complete", "True", "Finished", message), not_failed
    at = observed.unfinished or Unfinished(RunState.WAITING, "Waiting", "the run has not begun")
    return Verdict("Complete", "False", at.reason, at.message), not_failed


def _valid(observed: Observed, failed: Ended | None) -> Verdict:
    """Condition Valid; the operator's observation overrides the runner's verdict."""
    report, seen = observed.report, observed.disturbance
    if seen is not None:
        return Verdict("Valid", "False", seen.reason, seen.message)
    if failed is not None:
        return Verdict("Valid", "False", failed.reason, failed.message)
    if report is None:
        return Verdict("Valid", "Unknown", "NotFinished", "there are no figures yet")
    if report.valid is None:
        message = "the runner's version doesn't validate its own figures"
        return Verdict("Valid", "Unknown", "NotJudged", message)
    if not report.valid.status:
        return Verdict("Valid", "False", report.valid.reason, report.valid.message)
    message = f"{report.valid.message}{_silent_replicas(report, observed.tested.snapshot)}"
    return Verdict("Valid", "True", report.valid.reason, message)


def _silent_replicas(report: LoadReport, snapshot: Snapshot | None) -> str:
    """Clause about replicas that got no request, as kept connections can cause it."""
    names = {each.name for each in report.replicas} - {_UNKNOWN_REPLICA}
    if snapshot is None or snapshot.autoscaling or not names or len(names) >= snapshot.replicas:
        return ""
    return f"; only {len(names)} of {snapshot.replicas} replicas got requests"


def _slo_met(observed: Observed, failed: Ended | None) -> Verdict:
    """Condition SLOMet, independent of Valid."""
    report = observed.report
    if failed is not None:
        if failed.reason == _ALL_FAILED:
            return Verdict("SLOMet", "False", failed.reason, failed.message)
        return Verdict("SLOMet", "Unknown", failed.reason, f"no verdict: {failed.message}")
    if report is None or report.slo is None:
        return Verdict("SLOMet", "Unknown", "NotFinished", "there are no figures yet")
    if report.slo.met:
        return Verdict("SLOMet", "True", "WithinSLO", report.slo.message)
    reason = report.slo.reason or "BeyondSLO"
    status: Literal["False", "Unknown"] = "Unknown" if reason in _NO_VERDICT else "False"
    return Verdict("SLOMet", status, reason, report.slo.message)


def _failure(report: LoadReport) -> Ended | None:
    """Failure of a reported run: a run whose every request failed is never green."""
    if report.error is not None:
        return Ended(report.error.reason, report.error.message)
    summary = report.summary
    if summary.requests == 0:
        return Ended("NoRequests", "no request completed: make the stages longer")
    if summary.failures == summary.requests:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(summary.failures_by_kind.items()))
        return Ended(_ALL_FAILED, f"every request failed: {kinds}")
    return None


def _target(observed: Observed, previous: ObservedLoadTest) -> Target:
    tested, snapshot = observed.tested, observed.tested.snapshot
    facts = observed.report.target.fingerprint if observed.report else {}
    about = (observed.report.target.about if observed.report else None) or {}

    # Without the run's Job, only the status has the revision at its begin.
    same = previous.run == observed.run.name
    recorded = previous.target.revision if same else ""

    def fact_of(fact: str) -> str:
        return str(facts.get(fact) or about.get(fact) or "")

    return Target(
        name=tested.name or (urlsplit(tested.url).hostname or ""),
        url=tested.url,
        backend=fact_of("backend")[:_LONGEST_NAME] or tested.backend,
        revision=(snapshot.revision if snapshot else "") or recorded or fact_of("revision"),
        fingerprint=_fingerprint(facts, snapshot) if observed.report else None,
    )


def _fingerprint(facts: Mapping[str, str], snapshot: Snapshot | None) -> Fingerprint:
    kept = {
        name: text[:_LONGEST_FACT]
        for name, text in sorted(facts.items())[:_MOST_FACTS]
        if name not in {"backend", "revision"}
    }
    image = snapshot.image if snapshot else ""
    replicas = snapshot.replicas if snapshot else None
    scaling = snapshot.autoscaling if snapshot else ""
    if scaling:
        kept["autoscaling"] = scaling[:_LONGEST_FACT]
    return Fingerprint(
        digest=digest([facts.get("backend", ""), kept, image, None if scaling else replicas]),
        image=image,
        replicas=replicas,
        facts=kept,
    )


def _progress(progress: LoadProgress) -> Progress:
    return Progress(
        stage=progress.stage,
        stages=progress.stages,
        users=progress.users,
        requests=progress.requests,
        failures=progress.failures,
        elapsed_seconds=round(progress.elapsed_seconds),
    )


def _shown_meanwhile(progress: LoadProgress) -> Shown:
    return Shown(
        users=progress.users,
        requests_per_second=shown(progress.requests_per_second),
        p50=_milliseconds(progress.p50),
        p95=_milliseconds(progress.p95),
        failures=progress.failures,
    )


def _shown_after(report: LoadReport) -> Shown:
    """Columns of the window, with the failures of the whole run.

    An older runner reports no window: then all columns describe the whole run.
    """
    figures = report.window or report.summary
    return Shown(
        users=report.summary.max_users if report.window is None else report.window.users,
        requests_per_second=shown(figures.requests_per_second),
        p50=_milliseconds(figures.p50),
        p95=_milliseconds(figures.p95),
        failures=report.summary.failures,
    )


def _milliseconds(value: float | None) -> int | None:
    return None if value is None else round(value)


def _highest_rate(report: LoadReport) -> str | None:
    rate = report.summary.max_rate_within_slo
    return None if rate is None else shown(rate)


def _figures(reported: ReportedFigures) -> Figures:
    return Figures(
        requests=reported.requests,
        failures=reported.failures,
        requests_per_second=shown(reported.requests_per_second),
        p50=_milliseconds(reported.p50),
        p95=_milliseconds(reported.p95),
        p99=_milliseconds(reported.p99),
    )


def _stage(stage: ReportedStage) -> StageFigures:
    offered = stage.rate_per_second
    return StageFigures(
        **_figures(stage).model_dump(),
        users=stage.users,
        users_reached=stage.users_reached,
        rate_per_second=None if offered is None else shown(offered),
        duration=f"{round(stage.duration_seconds, 1):g}s",
        within_slo=stage.within_slo,
        overload=None if stage.overload is None else stage.overload[:_LONGEST_SENTENCE],
    )


def _window(report: LoadReport) -> WindowFigures | None:
    if report.window is None:
        return None
    return WindowFigures(stage=report.window.stage, **_stage(report.window).model_dump())


def _summary(report: LoadReport) -> Summary:
    summary = report.summary
    commonest = sorted(summary.failures_by_kind.items(), key=lambda kind: -kind[1])
    return Summary(
        **_figures(summary).model_dump(),
        discarded=summary.discarded,
        peak_requests_per_second=shown(summary.peak_requests_per_second),
        failures_per_second=shown(summary.failures_per_second),
        max_users=summary.max_users,
        failures_by_kind=dict(commonest[:_MOST_KINDS]) or None,
    )
