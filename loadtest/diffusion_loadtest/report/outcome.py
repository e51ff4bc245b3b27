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
from diffusion_loadtest.plan.search import Knee, Probe, knee
from diffusion_loadtest.report.batches import batches
from diffusion_loadtest.report.figures import (
    UsersAt,
    Window,
    highest_within,
    in_flight,
    run_seconds,
    samples_in,
    stage_figures,
    summary_of,
    timeline,
)
from diffusion_loadtest.report.intervals import intervals
from diffusion_loadtest.report.judgement import judge_window
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
    TimelinePoint,
    WindowFigures,
)
from diffusion_loadtest.report.overload import overload
from diffusion_loadtest.report.replicas import replica_figures, uneven_share
from diffusion_loadtest.report.slo import BEYOND, unknown
from diffusion_loadtest.report.support import support_missing
from diffusion_loadtest.report.validity import (
    USERS_NOT_REACHED,
    Observations,
    needed_for_verdict,
    validity,
)
from diffusion_loadtest.report.windows import measured_windows, users_missing
from diffusion_loadtest.target.fingerprint import fingerprint, fingerprint_id

ALL_FAILED = "AllRequestsFailed"


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
    users = outcome.user_changes or in_flight(samples)
    windows = measured_windows(plan, outcome.windows, users)
    stages = tuple(_stage(plan.slo, samples, window) for window in windows)
    result = None if plan.search is None else knee(plan.search, outcome.probes)
    search = _search(outcome, stages, result)
    number = len(stages) - 1 if result is None else _stage_of(outcome.probes, result.level)
    window = windows[number] if windows else None
    latencies = samples_in(samples, window).latencies() if window else []
    judged = _window(samples, window, stages[number]) if window else None
    observations = replace(
        outcome.observations,
        successes=len(latencies),
        draws=_draws(judged),
        median=percentile(latencies, 50),
        unsent=samples.failures_by_kind().get(NOT_SENT, 0),
        users_missing=None if window is None else users_missing(window),
        uneven_share=None if window is None else uneven_share(samples, window),
    )
    verdict = _slo(outcome, window, judged, search, error)
    if window is not None and verdict is not None and verdict.met:
        # a target beyond its limit is no better for a doubt about its percentiles
        missing = _support_missing(plan.slo, samples, window)
        observations = replace(observations, support_missing=missing)
    summary, summed_up = _summary(outcome, None if search is None else window, users)
    summary = summary.model_copy(update=dict(_within(stages, search)))
    facts = fingerprint(outcome.about, plan.request.body, plan.connections)
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
        window=judged,
        replicas=() if window is None else replica_figures(samples, window),
        timeline=_timeline(outcome, users),
        histogram=Histogram(
            max_relative_error=MAX_RELATIVE_ERROR, buckets=histogram(summed_up.latencies())
        ),
        search=search,
        valid=validity(observations, plan.slo, error),
        slo=verdict,
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
        return RunError(reason=ALL_FAILED, message=f"Every request failed: {kinds}.")
    return None


def _stage(slo: Slo | None, samples: Samples, window: Window) -> StageFigures:
    """The figures of a stage, with a verdict if it had its users."""
    reason = overload(samples, window)
    figures = stage_figures(samples, window).model_copy(update={"overload": reason})
    if slo is None or not window.is_settled:
        return figures
    met = judge_window(slo, samples, window, reason).met
    enough = figures.requests >= needed_for_verdict(slo)
    if met and (not enough or _support_missing(slo, samples, window)):
        return figures
    return figures.model_copy(update={"within_slo": met})


def _support_missing(slo: Slo | None, samples: Samples, window: Window) -> str | None:
    """Explains why the window's percentiles support no verdict; None if they do."""
    if slo is None:
        return None
    latencies, came_in = _responses(samples, window)
    return support_missing(slo, latencies, window.seconds, came_in)


def _window(samples: Samples, window: Window, figures: StageFigures) -> WindowFigures:
    return WindowFigures(
        stage=window.stage + 1,
        intervals=intervals(*_responses(samples, window)),
        **figures.model_dump(),
    )


def _responses(samples: Samples, window: Window) -> tuple[Sequence[float], int]:
    """The window's successful latencies by their ends, and the number of batches they came in."""
    counted = samples_in(samples, window)
    return counted.latencies_by_end(), batches(counted.success_ends())


def _draws(window: WindowFigures | None) -> int | None:
    """The independent draws that the window's p95 rests on."""
    p95 = None if window is None else window.intervals.get("p95")
    return None if p95 is None else p95.draws


def _timeline(outcome: Outcome, users: Sequence[UsersAt]) -> tuple[TimelinePoint, ...]:
    seconds = run_seconds(outcome.samples, outcome.load_seconds)
    return timeline(outcome.samples, users, seconds) if outcome.windows else ()


def _search(
    outcome: Outcome, stages: Sequence[StageFigures], result: Knee | None
) -> SearchResult | None:
    search = outcome.plan.search
    if search is None or result is None:
        return None
    # the last probe of each level, by whose result the search went on
    last = {each[0].level: each for each in zip(outcome.probes, stages, strict=False)}
    curve = tuple(
        SearchPoint(
            level=level,
            requests=stage.requests,
            requests_per_second=stage.requests_per_second,
            failure_ratio=stage.failure_ratio,
            within_slo=probe.within,
            p50=stage.p50,
            p95=stage.p95,
            p99=stage.p99,
        )
        for level, (probe, stage) in sorted(last.items())
    )
    return SearchResult(
        over=search.over,
        knee=result.load,
        confirmed=result.confirmed,
        step=round(result.step, 6),
        at_max=result.at_max,
        curve=curve,
    )


def _stage_of(probes: Sequence[Probe], level: float | None) -> int:
    """The last probe at a search's knee, or at its lowest level; -1 if there was no probe."""
    levels = [probe.level for probe in probes]
    level = min(levels, default=None) if level is None else level
    return max((index for index, other in enumerate(levels) if other == level), default=-1)


def _summary(
    outcome: Outcome, probe: Window | None, users: Sequence[UsersAt]
) -> tuple[Summary, Samples]:
    """The summary of the whole run or of one probe, and the samples that it counts."""
    samples, discarded = outcome.samples, outcome.observations.warmup_requests
    if probe is not None:
        samples = samples.of_stage(probe.stage)
        return summary_of(samples, probe, 0), samples.only_measured()
    most = max((count for _, count in users), default=0)
    whole = Window(0, 0.0, outcome.load_seconds, most)
    return summary_of(samples, whole, discarded), samples.only_measured()


def _within(
    stages: Sequence[StageFigures], search: SearchResult | None
) -> Mapping[str, int | float | None]:
    """The highest load within the slo: of the stages, or the search's knee."""
    if search is None:
        return highest_within(stages)
    if search.knee is None:
        return {}
    if search.over == "rate":
        return {"max_rate_within_slo": search.knee}
    return {"max_users_within_slo": int(search.knee)}


def _slo(
    outcome: Outcome,
    window: Window | None,
    figures: WindowFigures | None,
    search: SearchResult | None,
    error: RunError | None,
) -> SloVerdict | None:
    """The verdict on the slo, which a search meets where it has a knee."""
    slo = outcome.plan.slo
    if slo is None:
        return None
    if window is None or figures is None or (error is not None and error.reason != ALL_FAILED):
        reason, message = (
            (error.reason, error.message) if error else ("NoRequests", "no stage began")
        )
        return unknown(reason, message)
    if (missing := users_missing(window)) is not None:
        return unknown(USERS_NOT_REACHED, missing)
    if search is not None and search.knee is not None and not search.confirmed:
        return unknown("Unconfirmed", f"{search.knee:g} was within the slo in one probe only")
    verdict = judge_window(slo, outcome.samples, window, figures.overload)
    if search is None or verdict.met == (search.knee is not None):
        return verdict
    return verdict.model_copy(update={"met": False, "reason": BEYOND})


def _client(plan: LoadPlan, client_usage: Sequence[Sequence[ClientUsage]]) -> ClientFigures:
    """The usage of the busiest worker, and the lag of the latest."""
    workers = [seconds for seconds in client_usage if seconds]
    cpu = max((fmean(second.cpu for second in seconds) for seconds in workers), default=0.0)
    lag = max((fmean(second.lag for second in seconds) for seconds in workers), default=0.0)
    return ClientFigures(workers=plan.workers, cpu=round(cpu, 3), lag=round(lag * 1000, 3))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
