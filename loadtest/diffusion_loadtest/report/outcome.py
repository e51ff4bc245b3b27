"""The report of a run: what was driven, recorded and witnessed, as figures and verdicts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean
from typing import Any

from diffusion_loadtest.measure.client_saturation import Second
from diffusion_loadtest.measure.histogram import MAX_RELATIVE_ERROR, histogram
from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.measure.samples import NOT_SENT, Samples
from diffusion_loadtest.plan.load_plan import LoadPlan, Slo
from diffusion_loadtest.plan.search import Probed, knee
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
    Percentiles,
    Report,
    RunError,
    SearchPoint,
    SearchResult,
    SloVerdict,
    StageFigures,
    Summary,
    TargetFound,
)
from diffusion_loadtest.report.slo import judge
from diffusion_loadtest.report.validity import Witnessed, validity
from diffusion_loadtest.target.fingerprint import fingerprint, fingerprint_id


@dataclass(frozen=True)
class Outcome:
    """What a run left behind; `witnessed` still lacks what the samples tell."""

    plan: LoadPlan
    samples: Samples
    windows: Sequence[Window]
    user_changes: Sequence[UsersAt]
    probed: Sequence[Probed]
    load_seconds: float
    witnessed: Witnessed
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
    found = _search(outcome, stages)
    summary_stage = None if found is None else _summary_stage(outcome, found)
    whole = Window(0, 0.0, seconds, max((count for _, count in users), default=0))
    summary, latencies = _summary(
        outcome, whole if summary_stage is None else windows[summary_stage], summary_stage, stages
    )
    witnessed = replace(
        outcome.witnessed,
        successes=len(latencies),
        median=percentile(latencies, 50),
        unsent=samples.failures_by_kind().get(NOT_SENT, 0),
    )
    facts = fingerprint(outcome.about, plan.request.body)
    return Report(
        run=plan.test.run,
        start_time=_time(outcome.started),
        completion_time=_time(outcome.completed),
        target=TargetFound(
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
        search=found,
        valid=validity(witnessed, plan.slo, error),
        slo=None if plan.slo is None else _slo(plan.slo, summary, found),
        client=_client(plan, witnessed.busyness),
        error=error,
    )


def _failure(samples: Samples) -> RunError | None:
    """Why a run that went as planned has no figures all the same."""
    if not len(samples):
        message = "Not one request ended: make the stages longer."
        return RunError(reason="NoRequests", message=message)
    if samples.failures == len(samples):
        kinds = ", ".join(f"{count} {kind}" for kind, count in samples.failures_by_kind().items())
        return RunError(reason="AllRequestsFailed", message=f"Every request failed: {kinds}.")
    return None


def _with_users(window: Window, users: Sequence[UsersAt]) -> Window:
    """In the open loop the users are those that it took."""
    return window if window.rate is None else window._replace(users=most_users(users, window))


def _stages(
    plan: LoadPlan, samples: Samples, windows: Sequence[Window], seconds: float
) -> list[StageFigures]:
    """The stages that had begun; unless it is a probe, the last one ends with the run."""
    made = []
    for window in windows:
        last = plan.search is None and window is windows[-1]
        figures = stage_figures(samples, window, until=seconds if last else None)
        met = None if plan.slo is None else _judge(plan.slo, figures).met
        made.append(figures.model_copy(update={"within_slo": met}))
    return made


def _judge(slo: Slo, figures: StageFigures | Summary) -> SloVerdict:
    latencies = Percentiles(p50=figures.p50, p95=figures.p95, p99=figures.p99)
    return judge(slo, latencies, figures.failure_ratio, figures.requests_per_second)


def _search(outcome: Outcome, stages: Sequence[StageFigures]) -> SearchResult | None:
    search = outcome.plan.search
    if search is None:
        return None
    found = knee(search, outcome.probed)
    last = {probe.level: stage for probe, stage in zip(outcome.probed, stages, strict=False)}
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
        knee=found.level,
        confirmed=found.confirmed,
        step=round(found.step, 6),
        at_max=found.at_max,
        curve=curve,
    )


def _summary_stage(outcome: Outcome, found: SearchResult) -> int | None:
    """The stage that a search's summary is of; None if there was no probe."""
    levels = [probe.level for probe in outcome.probed]
    if not levels:
        return None
    level = min(levels) if found.knee is None else found.knee
    return max(index for index, other in enumerate(levels) if other == level)


def _summary(
    outcome: Outcome, window: Window, stage: int | None, stages: Sequence[StageFigures]
) -> tuple[Summary, list[float]]:
    """The summary of the whole run, or of one stage, and the latencies that it is of."""
    samples, discarded = outcome.samples, outcome.witnessed.warmup_requests
    if stage is not None:
        samples, discarded = samples.of_stage(stage), 0
    summary = summary_of(samples, window, discarded)
    return (
        summary.model_copy(update=dict(highest_within(_known_good(outcome, stages)))),
        samples.only_measured().latencies(),
    )


def _known_good(outcome: Outcome, stages: Sequence[StageFigures]) -> Sequence[StageFigures]:
    """Stages that may tell the highest load within the slo: of a search only those at its knee."""
    if outcome.plan.search is None:
        return stages
    found = knee(outcome.plan.search, outcome.probed)
    return [
        stage
        for probe, stage in zip(outcome.probed, stages, strict=False)
        if probe.level == found.level
    ]


def _slo(slo: Slo, summary: Summary, found: SearchResult | None) -> SloVerdict:
    """Of a search the slo is met where there is a knee."""
    verdict = _judge(slo, summary)
    return verdict if found is None else verdict.model_copy(update={"met": found.knee is not None})


def _client(plan: LoadPlan, busyness: Sequence[Sequence[Second]]) -> ClientFigures:
    """The busiest worker's, and the latest one's."""
    seen = [seconds for seconds in busyness if seconds]
    cpu = max((fmean(second.cpu for second in seconds) for seconds in seen), default=0.0)
    lag = max((fmean(second.lag for second in seconds) for seconds in seen), default=0.0)
    return ClientFigures(workers=plan.workers, cpu=round(cpu, 3), lag=round(lag * 1000, 3))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
