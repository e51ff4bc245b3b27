"""The report of a run, as a pure function of its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import Any

from diffusion_loadtest.measure.client_saturation import ClientUsage
from diffusion_loadtest.measure.histogram import MAX_RELATIVE_ERROR, histogram
from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.measure.samples import NOT_SENT, Samples
from diffusion_loadtest.plan.load_plan import LoadPlan, Slo
from diffusion_loadtest.plan.search import Probe, knee
from diffusion_loadtest.report.figures import (
    UsersAt,
    Window,
    highest_within,
    in_flight,
    most_users,
    run_seconds,
    stage_figures,
    summary_of,
    timeline,
)
from diffusion_loadtest.report.load_report import (
    ClientFigures,
    Histogram,
    Report,
    RunError,
    SearchPoint,
    SearchResult,
    SloVerdict,
    StageFigures,
    Summary,
    TargetFacts,
)
from diffusion_loadtest.report.slo import judge_figures
from diffusion_loadtest.report.validity import Observations, validity
from diffusion_loadtest.target.fingerprint import fingerprint, fingerprint_id


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run; its `observations` lack the counts that the samples give."""

    plan: LoadPlan
    samples: Samples
    windows: Sequence[Window]
    user_changes: Sequence[UsersAt]
    probes: Sequence[Probe]
    load_seconds: float
    observations: Observations
    about: Mapping[str, Any] | None
    about_after: Mapping[str, Any] | None
    started: datetime
    completed: datetime
    error: RunError | None


def report_of(outcome: Outcome) -> Report:
    """The whole report."""
    plan, samples = outcome.plan, outcome.samples
    error = outcome.error or _failure(samples)
    seconds = run_seconds(samples, outcome.load_seconds)
    users = outcome.user_changes or in_flight(samples)
    windows = [_with_users(window, users) for window in outcome.windows]
    stages = tuple(_stages(plan, samples, windows, seconds))
    search = _search(outcome, stages)
    summary_stage = None if search is None else _summary_stage(outcome, search)
    whole = Window(0, 0.0, seconds, max((count for _, count in users), default=0))
    summary, latencies = _summary(
        outcome, whole if summary_stage is None else windows[summary_stage], summary_stage, stages
    )
    observations = replace(
        outcome.observations,
        successes=len(latencies),
        median=percentile(latencies, 50),
        unsent=samples.failures_by_kind().get(NOT_SENT, 0),
    )
    facts = fingerprint(outcome.about, plan.request.body)
    return Report(
        run=plan.test.run,
        start_time=_time(outcome.started),
        completion_time=_time(outcome.completed),
        target=TargetFacts(
            url=plan.target.url,
            about=None if outcome.about is None else dict(outcome.about),
            about_after=None if outcome.about_after is None else dict(outcome.about_after),
            fingerprint=facts,
            fingerprint_id=fingerprint_id(facts),
        ),
        summary=summary,
        stages=stages,
        timeline=timeline(samples, users, seconds) if windows else (),
        histogram=Histogram(max_relative_error=MAX_RELATIVE_ERROR, buckets=histogram(latencies)),
        search=search,
        valid=validity(observations, plan.slo, error),
        slo=None if plan.slo is None else _slo(plan.slo, summary, search),
        client=_client(plan, observations.client_usage),
        error=error,
    )


def _failure(samples: Samples) -> RunError | None:
    """The error of a run without a single figure, although it went as planned."""
    if not len(samples):
        message = "No request completed: make the stages longer."
        return RunError(reason="NoRequests", message=message)
    if samples.failures == len(samples):
        kinds = ", ".join(f"{count} {kind}" for kind, count in samples.failures_by_kind().items())
        return RunError(reason="AllRequestsFailed", message=f"Every request failed: {kinds}.")
    return None


def _with_users(window: Window, users: Sequence[UsersAt]) -> Window:
    """A window of the open loop, with the users that its rate needed."""
    return window if window.rate is None else window._replace(users=most_users(users, window))


def _stages(
    plan: LoadPlan, samples: Samples, windows: Sequence[Window], seconds: float
) -> list[StageFigures]:
    """The stages that began; unless it is a probe, the last stage ends with the run."""
    stages = []
    for window in windows:
        last = plan.search is None and window is windows[-1]
        figures = stage_figures(samples, window, until=seconds if last else None)
        met = None if plan.slo is None else judge_figures(plan.slo, figures).met
        stages.append(figures.model_copy(update={"within_slo": met}))
    return stages


def _search(outcome: Outcome, stages: Sequence[StageFigures]) -> SearchResult | None:
    search = outcome.plan.search
    if search is None:
        return None
    result = knee(search, outcome.probes)
    last = {probe.level: stage for probe, stage in zip(outcome.probes, stages, strict=False)}
    curve = tuple(
        SearchPoint(
            level=level,
            requests=stage.requests,
            requests_per_second=stage.requests_per_second,
            failure_ratio=stage.failure_ratio,
            within_slo=bool(stage.within_slo),
            p50=stage.p50,
            p95=stage.p95,
            p99=stage.p99,
        )
        for level, stage in sorted(last.items())
    )
    return SearchResult(
        over=search.over,
        knee=result.level,
        confirmed=result.confirmed,
        step=round(result.step, 6),
        at_max=result.at_max,
        curve=curve,
    )


def _summary_stage(outcome: Outcome, search: SearchResult) -> int | None:
    """The stage that a search's summary describes; None if there was no probe."""
    levels = [probe.level for probe in outcome.probes]
    if not levels:
        return None
    level = min(levels) if search.knee is None else search.knee
    return max(index for index, other in enumerate(levels) if other == level)


def _summary(
    outcome: Outcome, window: Window, stage: int | None, stages: Sequence[StageFigures]
) -> tuple[Summary, list[float]]:
    """The summary of the whole run or of one stage, and its latencies."""
    samples, discarded = outcome.samples, outcome.observations.warmup_requests
    if stage is not None:
        samples, discarded = samples.of_stage(stage), 0
    summary = summary_of(samples, window, discarded)
    return (
        summary.model_copy(update=dict(highest_within(_stages_at_knee(outcome, stages)))),
        samples.only_measured().latencies(),
    )


def _stages_at_knee(outcome: Outcome, stages: Sequence[StageFigures]) -> Sequence[StageFigures]:
    """The stages that may hold the highest load within the slo: in a search, those at its knee."""
    if outcome.plan.search is None:
        return stages
    level = knee(outcome.plan.search, outcome.probes).level
    return [
        stage for probe, stage in zip(outcome.probes, stages, strict=False) if probe.level == level
    ]


def _slo(slo: Slo, summary: Summary, search: SearchResult | None) -> SloVerdict:
    """The verdict on the slo, which a search meets where it has a knee."""
    verdict = judge_figures(slo, summary)
    return (
        verdict if search is None else verdict.model_copy(update={"met": search.knee is not None})
    )


def _client(plan: LoadPlan, client_usage: Sequence[Sequence[ClientUsage]]) -> ClientFigures:
    """The usage of the busiest worker, and the lag of the latest."""
    workers = [seconds for seconds in client_usage if seconds]
    cpu = max((fmean(second.cpu for second in seconds) for seconds in workers), default=0.0)
    lag = max((fmean(second.lag for second in seconds) for seconds in workers), default=0.0)
    return ClientFigures(workers=plan.workers, cpu=round(cpu, 3), lag=round(lag * 1000, 3))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
