"""One run from the first question to the target to the published report."""

import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import gevent
from gevent import Greenlet
from gevent.event import Event
from pydantic import JsonValue

from .driver import Driver
from .figures import PEAK_SECONDS, run_seconds, stage_figures, summary_of, timeline
from .load import Load
from .plan import LoadPlan
from .publish import (
    PROGRESS,
    REPORT,
    ConfigMapSink,
    FileSink,
    PublishError,
    Sink,
    Sinks,
    pod_namespace,
)
from .report import Progress, Report, RunError, State, TargetFound
from .target import TargetUnreachableError, about, wait_until_ready

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
PROGRESS_SECONDS = 2.0
DELIVERY_SECONDS = 300.0
INTERRUPTED_DELIVERY_SECONDS = 20.0
"""Less than the 30 s that Kubernetes gives a pod to end."""

_LAG_SECONDS = 0.05
_PUBLISHER_SECONDS = 15.0

_logger = logging.getLogger(__name__)


def sinks_of(plan: LoadPlan, out: Path | None) -> Sinks:
    """The plan's ConfigMap, the folder `out`, or both; the current folder if there is neither."""
    sinks: list[Sink] = []
    if plan.report.config_map is not None:
        sinks.append(ConfigMapSink(plan.report.config_map, pod_namespace(plan.test.namespace)))
    if out is not None or not sinks:
        sinks.append(FileSink(out or Path()))
    return Sinks(tuple(sinks))


class Run:
    """Waits for the target, drives the load, and tells how it goes and how it went."""

    def __init__(self, plan: LoadPlan, prompts: tuple[str, ...], sinks: Sinks) -> None:
        self._plan = plan
        self._load = Load(plan, prompts)
        self._sinks = sinks
        self._state: State = "Waiting"
        self._message: str | None = None
        self._interrupted = Event()
        self._over = Event()
        self._lag = 0.0

    def execute(self, wait_seconds: float) -> None:
        """Carry the plan out; raises PublishError if the report could not be published.

        Whatever goes wrong with the target is part of the report and no error of this program.
        """
        for number in STOP_SIGNALS:
            gevent.signal_handler(number, self._interrupted.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        # the first time takes longest, so it comes before anything is timed
        self._sinks.offer({PROGRESS: self._progress()})
        publisher = gevent.spawn(self._publish_progress)
        gevent.spawn(self._watch_lag)
        started = datetime.now(UTC)
        found: dict[str, JsonValue] | None = None
        error: RunError | None = None
        try:
            if self._or_interrupted(self._await_target, wait_seconds):
                found = about(self._plan.target.url)
                started = datetime.now(UTC)
                error = self._drive()
            else:
                error = _interrupted("before the load began")
        except TargetUnreachableError as unreachable:
            error = RunError(reason="TargetUnreachable", message=str(unreachable))
        report = self._report(started, found, error)
        self._state = "Finished" if error is None else "Failed"
        self._message = None if error is None else error.message
        # the last progress must not overtake the report's, which says that the run is over
        self._over.set()
        publisher.join(_PUBLISHER_SECONDS)
        _log("finished", error=error and error.reason, **report.summary.model_dump(by_alias=True))
        self._sinks.deliver(
            {PROGRESS: self._progress(), REPORT: report.model_dump_json(by_alias=True)},
            INTERRUPTED_DELIVERY_SECONDS if self._interrupted.is_set() else DELIVERY_SECONDS,
        )

    def _await_target(self, seconds: float) -> None:
        self._message = f"waiting for {self._plan.target.url} to be ready"
        wait_until_ready(self._plan.target.url, seconds)

    def _drive(self) -> RunError | None:
        self._state, self._message = "Running", None
        driver = Driver(self._load)
        if self._or_interrupted(driver.run):
            return None
        driver.abort()
        return _interrupted(f"after {self._load.seconds():.0f} s of load")

    def _or_interrupted(self, function: Callable[..., None], *arguments: object) -> bool:
        """Whether `function` ended before a signal came; raises what it raised."""
        greenlet = gevent.spawn(function, *arguments)
        either: list[Greenlet[..., None] | Event] = [greenlet, self._interrupted]
        gevent.wait(either, count=1)
        if greenlet.ready():
            greenlet.get()
            return True
        greenlet.kill(block=True)
        return False

    def _report(
        self, started: datetime, found: dict[str, JsonValue] | None, error: RunError | None
    ) -> Report:
        load, plan = self._load, self._plan
        loaded = min(load.seconds(), plan.duration_seconds)
        seconds = run_seconds(load.samples, loaded)
        changes = load.user_changes
        return Report(
            run=plan.test.run,
            start_time=_time(started),
            completion_time=_time(datetime.now(UTC)),
            target=TargetFound(url=plan.target.url, about=found),
            summary=summary_of(
                load.samples, seconds, max((users for _, users in changes), default=0)
            ),
            stages=stage_figures(load.samples, plan.users.stages, seconds) if changes else (),
            timeline=timeline(load.samples, changes, seconds) if changes else (),
            error=error,
        )

    def _publish_progress(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + PROGRESS_SECONDS
            self._sinks.offer({PROGRESS: self._progress()})
            if self._state == "Running":
                load = self._load
                _log(
                    "progress",
                    stage=load.stage + 1,
                    users=load.users,
                    requests=len(load.samples),
                    failures=load.samples.failures,
                    requestsPerSecond=self._recent_rate(),
                    clientLagMilliseconds=round(self._lag * 1000, 1),
                )
                self._lag = 0.0

    def _watch_lag(self) -> None:
        """Keeps the longest that this process came late: its own share in what it measures."""
        while not self._over.is_set():
            before = time.perf_counter()
            gevent.sleep(_LAG_SECONDS)
            self._lag = max(self._lag, time.perf_counter() - before - _LAG_SECONDS)

    def _progress(self) -> str:
        load = self._load
        return Progress(
            run=self._plan.test.run,
            state=self._state,
            stage=load.stage + 1 if load.user_changes else 0,
            stages=len(self._plan.users.stages),
            users=load.users,
            requests=len(load.samples),
            failures=load.samples.failures,
            requests_per_second=self._recent_rate(),
            elapsed_seconds=round(load.seconds(), 1),
            message=self._message,
        ).model_dump_json(by_alias=True)

    def _recent_rate(self) -> float:
        now = self._load.seconds()
        width = min(now, PEAK_SECONDS)
        count = self._load.samples.successes_since(now - width)
        return round(count / width, 2) if width > 0 else 0.0


def _interrupted(when: str) -> RunError:
    return RunError(
        reason="Interrupted",
        message=f"The run was stopped {when}; the figures are of what was done until then.",
    )


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _log(event: str, **fields: object) -> None:
    """One line of JSON for people and log collectors; never a prompt."""
    print(json.dumps({"event": event, **fields}), file=sys.stdout, flush=True)


def run(plan: LoadPlan, prompts: tuple[str, ...], out: Path | None, wait_seconds: float) -> bool:
    """Run the plan; returns whether its report was published."""
    try:
        Run(plan, prompts, sinks_of(plan, out)).execute(wait_seconds)
    except PublishError as error:
        _logger.error("The report was not published: %s", error)  # noqa: TRY400  no bug to trace
        return False
    return True
