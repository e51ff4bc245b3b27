"""``kubectl diffusion run``: a run of a LoadTest or a Comparison, and its verdict as exit code."""

import time
import uuid
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.cluster.kinds import COMPARISON, Kind
from kubectl_diffusion.report.report_type import ReportType, report_text, report_type_of
from kubectl_diffusion.run.junit import junit
from kubectl_diffusion.run.outcome import (
    Ending,
    Outcome,
    outcome_of_comparison,
    outcome_of_test,
)
from kubectl_diffusion.run.progress import Narrator
from kubectl_diffusion.run.waiting import RUN_AT, Clock, WaitedTooLongError, ended_run
from kubectl_diffusion.terminal.errors import PluginError
from kubectl_diffusion.terminal.files import check_folder, write

_CLOCK = Clock(time.monotonic, time.sleep)

Object = Mapping[str, Any]


@dataclass(frozen=True)
class _Test:
    """The tested resource: its kind of report, its name, and its cluster."""

    type: ReportType
    name: str
    cluster: Cluster

    @property
    def kind(self) -> Kind:
        return self.type.resource

    @property
    def path(self) -> str:
        return f"{self.kind.short}/{self.name}"

    def look(self) -> Object:
        """The resource as it is now. Raises ``PluginError``."""
        return self.cluster.resource(self.kind, self.name)


def run(
    options: Namespace,
    connect: Callable[[], Cluster],
    console: Console,
    clock: Clock = _CLOCK,
) -> int:
    """Starts a run and returns the exit code of its verdict. Raises ``PluginError``."""
    word, _, name = options.test.rpartition("/")
    report_type = report_type_of(word, name)
    files = (options.junit, options.markdown)
    if any(files) and not options.wait:
        raise PluginError("a run has a verdict to write only at its end: add --wait")
    for path in filter(None, files):
        check_folder(path)
    test = _Test(report_type, name, connect())
    if test.look()["spec"].get("suspend"):
        raise PluginError(
            f"{test.path} is suspended, and no run begins: set spec.suspend to false first"
        )
    # Two pipelines may ask within one moment.
    run_at = f"{datetime.now(UTC).isoformat(timespec='seconds')}-{uuid.uuid4().hex[:8]}"
    test.cluster.annotate(test.kind, name, RUN_AT, run_at)
    if not options.wait:
        console.print(f"{test.path}: a run was asked for; kubectl get {test.path} -w shows it")
        return 0
    resource, outcome = _wait(test, run_at, options.timeout, console, clock)
    title = f"{test.kind.name} {test.cluster.namespace}/{name}"
    if options.junit:
        status = resource.get("status") or {}
        write(options.junit, junit(title, status, outcome))
    if options.markdown:
        write(options.markdown, _markdown(title, test, resource, outcome).encode())
    console.print(f"{test.path}: {outcome.ending.words}: {outcome.message}")
    return int(outcome.ending)


def _wait(
    test: _Test,
    run_at: str,
    timeout: float,
    console: Console,
    clock: Clock,
) -> tuple[Object, Outcome]:
    """The resource after the run, and the outcome; without a status if the time is over."""
    with console.status(f"{test.path}: the run begins") as line:
        try:
            resource = ended_run(
                test.look,
                run_at,
                timeout,
                clock,
                Narrator(console, line),
            )
        except WaitedTooLongError as error:
            return {}, Outcome(Ending.TIMEOUT, str(error), ())
    status = resource["status"]
    outcome_of = outcome_of_comparison if test.kind is COMPARISON else outcome_of_test
    return resource, outcome_of(status)


def _markdown(title: str, test: _Test, resource: Object, outcome: Outcome) -> str:
    """The verdict in one line, and the report's tables where the run has a report."""
    line = f"**{title}: {outcome.ending.words}.** {outcome.message}\n"
    try:
        text = report_text(test.cluster, resource)
    except PluginError as error:  # a lost report takes no verdict away
        return f"{line}\n{error}\n"
    if text is None:
        return line
    return f"{line}\n{test.type.renderers['markdown'](test.type.of_resource(resource, text))}"
