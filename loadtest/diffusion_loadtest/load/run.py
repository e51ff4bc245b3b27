"""A run, from the readiness of workers and target to the published report."""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import gevent
from gevent import Greenlet
from gevent.event import Event
from pydantic import JsonValue

from diffusion_loadtest.load.distributed_executor import DistributedExecutor
from diffusion_loadtest.load.driver import Driver
from diffusion_loadtest.load.executor import Executor, WorkersMissingError
from diffusion_loadtest.load.local_executor import LocalExecutor
from diffusion_loadtest.load.stop_signals import on_stop_signal
from diffusion_loadtest.load.web_ui import open_page
from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.report.figures import PEAK_SECONDS
from diffusion_loadtest.report.load_report import Progress, Report, RunError, State, Summary
from diffusion_loadtest.report.outcome import Outcome, report_of
from diffusion_loadtest.report.publish import (
    PROGRESS,
    REPORT,
    ConfigMapSink,
    FileSink,
    PublishError,
    Sink,
    Sinks,
    pod_namespace,
)
from diffusion_loadtest.report.validity import Observations
from diffusion_loadtest.target.about import about
from diffusion_loadtest.target.readiness import TargetUnreachableError, wait_until_ready
from diffusion_loadtest.target.watch import TargetWatch

PROGRESS_SECONDS = 2.0
WORKERS_SECONDS = 180.0
DELIVERY_SECONDS = 300.0
INTERRUPTED_DELIVERY_SECONDS = 20.0
"""The time to deliver the report after a signal: Kubernetes kills a pod after 30 s."""
PAGE_SECONDS = 600.0
"""The time for which Locust's page stays up after the run."""

_PUBLISHER_SECONDS = 15.0

_logger = logging.getLogger(__name__)


def sinks_of(plan: LoadPlan, out: Path | None) -> Sinks:
    """The plan's ConfigMap, the folder `out`, or both; the current folder by default."""
    sinks: list[Sink] = []
    if plan.report.config_map is not None:
        sinks.append(ConfigMapSink(plan.report.config_map, pod_namespace(plan.test.namespace)))
    if out is not None or not sinks:
        sinks.append(FileSink(out or Path()))
    return Sinks(tuple(sinks))


def executor_of(
    plan: LoadPlan, prompts: tuple[str, ...], api_key: str | None, master_port: int | None
) -> Executor:
    """An executor with workers that connect to `master_port`; a local one without a port."""
    if master_port is None:
        return LocalExecutor(plan, prompts, api_key)
    return DistributedExecutor(plan, master_port)


class NotPublishedError(Exception):
    """The report could not be published; `summary` holds its main figures."""

    def __init__(self, detail: str, summary: Summary) -> None:
        super().__init__(detail)
        self.summary = summary


class Run:
    """Waits for workers and target, drives the load, and publishes progress and report."""

    def __init__(
        self, plan: LoadPlan, executor: Executor, sinks: Sinks, api_key: str | None
    ) -> None:
        self._plan = plan
        self._executor = executor
        self._driver = Driver(plan, executor)
        self._sinks = sinks
        self._api_key = api_key
        self._state: State = "Waiting"
        self._message: str | None = None
        self._interrupted = Event()
        self._over = Event()

    def execute(self, wait_seconds: float) -> None:
        """Carries the plan out. A failure of the target is part of the report and no error here.

        Raises:
            NotPublishedError: The report could not be published.
        """
        on_stop_signal(self._interrupted.set)
        # the first publication takes longest, so it precedes every measurement
        self._sinks.offer({PROGRESS: self._progress()})
        publisher = gevent.spawn(self._publish_progress)
        if self._plan.web_ui:
            open_page(self._executor.environment)
        report = self._carry_out(wait_seconds)
        self._executor.close()
        error = report.error
        self._state = "Finished" if error is None else "Failed"
        self._message = None if error is None else error.message
        # the publisher's last progress must not overtake the report's, which ends the run
        self._over.set()
        publisher.join(_PUBLISHER_SECONDS)
        _log("finished", error=error and error.reason, **report.summary.model_dump(by_alias=True))
        try:
            self._sinks.deliver(
                {PROGRESS: self._progress(), REPORT: report.model_dump_json(by_alias=True)},
                INTERRUPTED_DELIVERY_SECONDS if self._interrupted.is_set() else DELIVERY_SECONDS,
            )
        except PublishError as failure:
            raise NotPublishedError(str(failure), report.summary) from None
        if self._plan.web_ui:
            self._interrupted.wait(PAGE_SECONDS)

    def _carry_out(self, wait_seconds: float) -> Report:
        started = datetime.now(UTC)
        target = TargetWatch(None, self._about)
        error: RunError | None = None
        try:
            if self._or_interrupted(self._wait_ready, wait_seconds):
                scales = self._plan.target.is_autoscaled
                target = TargetWatch(self._about(), self._about, is_autoscaled=scales)
                started = datetime.now(UTC)
                error = self._drive(target)
            else:
                error = _interrupted("before the load began")
        except TargetUnreachableError as unreachable:
            error = RunError(reason="TargetUnreachable", message=str(unreachable))
        except WorkersMissingError as missing:
            error = RunError(reason="WorkersMissing", message=str(missing))
        return self._report(started, target, error)

    def _about(self) -> dict[str, JsonValue] | None:
        return about(self._plan.target.url, self._api_key)

    def _wait_ready(self, seconds: float) -> None:
        self._message = f"waiting for {self._plan.workers} workers"
        self._executor.wait_ready(WORKERS_SECONDS)
        self._message = f"waiting for {self._plan.target.url} to be ready"
        wait_until_ready(self._plan.target.url, seconds)

    def _drive(self, target: TargetWatch) -> RunError | None:
        self._state, self._message = "Running", None
        driver = self._driver
        watching = gevent.spawn(target.run, driver.clock.seconds)
        try:
            if self._or_interrupted(driver.run):
                target.poll(driver.clock.seconds)
                return None
        finally:
            watching.kill(block=True)
        driver.abort()
        if self._executor.exhausted.is_set():
            message = f"All workers were lost, the last after {driver.clock.seconds():.0f} s."
            return RunError(reason="WorkerLost", message=message)
        return _interrupted(f"after {driver.clock.seconds():.0f} s of load")

    def _or_interrupted(self, function: Callable[..., None], *arguments: object) -> bool:
        """Whether `function` returned before a signal arrived or the last worker was lost."""
        greenlet = gevent.spawn(function, *arguments)
        events: list[Greenlet[..., None] | Event] = [
            greenlet,
            self._interrupted,
            self._executor.exhausted,
        ]
        gevent.wait(events, count=1)
        if greenlet.ready():
            greenlet.get()
            return True
        greenlet.kill(block=True)
        return False

    def _report(self, started: datetime, target: TargetWatch, error: RunError | None) -> Report:
        driver, executor = self._driver, self._executor
        return report_of(
            Outcome(
                plan=self._plan,
                samples=Samples.merged(executor.samples() if driver.windows else ()),
                windows=driver.windows,
                user_changes=driver.user_changes,
                probes=driver.probes,
                load_seconds=driver.load_seconds,
                observations=Observations(
                    client_usage=executor.client_usage(),
                    workers_lost=executor.lost_workers,
                    target_restart=target.restart,
                    target_change=target.change,
                    warmup_requests=driver.warmup.requests,
                    warmup_failures=driver.warmup.failures,
                ),
                about=target.before,
                about_after=target.latest,
                started=started,
                completed=datetime.now(UTC),
                error=error,
            )
        )

    def _publish_progress(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + PROGRESS_SECONDS
            progress = self._progress()
            self._sinks.offer({PROGRESS: progress})
            if self._state == "Running":
                _log("progress", **json.loads(progress))

    def _progress(self) -> str:
        driver, executor = self._driver, self._executor
        parts = executor.samples() if driver.windows else ()
        now = driver.clock.seconds()
        width = min(now, PEAK_SECONDS)
        recent = sorted(latency for part in parts for latency in part.since(now - width))
        p50, p95 = percentile(recent, 50), percentile(recent, 95)
        return Progress(
            run=self._plan.test.run,
            state=self._state,
            phase=driver.phase if self._state == "Running" else None,
            stage=len(driver.windows),
            stages=driver.stages,
            users=driver.users,
            rate_per_second=driver.rate,
            requests=sum(map(len, parts)),
            failures=sum(part.failures for part in parts),
            requests_per_second=round(len(recent) / width, 2) if width > 0 else 0.0,
            p50=p50 and round(p50 * 1000, 3),
            p95=p95 and round(p95 * 1000, 3),
            elapsed_seconds=round(now, 1) if driver.windows else 0.0,
            workers=self._plan.workers,
            workers_connected=executor.connected,
            message=self._message,
        ).model_dump_json(by_alias=True)


def _interrupted(when: str) -> RunError:
    return RunError(
        reason="Interrupted",
        message=f"The run was stopped {when}; the figures cover the time until then.",
    )


def _log(event: str, **fields: object) -> None:
    """Prints one line of JSON for people and log collectors, never with a prompt."""
    print(json.dumps({"event": event, **fields}), file=sys.stdout, flush=True)
