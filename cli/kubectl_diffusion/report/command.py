"""``kubectl diffusion report``: the report of a load test or a comparison, saved or opened."""

import sys
import webbrowser
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.cluster.kinds import Kind
from kubectl_diffusion.report.report_type import (
    COMPARISON_REPORT,
    LOAD_TEST_REPORT,
    ReportType,
    report_text,
    report_type_of,
)
from kubectl_diffusion.terminal.errors import PluginError
from kubectl_diffusion.terminal.files import write

SUFFIXES = {"html": ".html", "json": ".json", "csv": ".csv", "markdown": ".md"}


def report(options: Namespace, connect: Callable[[], Cluster], console: Console) -> None:
    """Writes the report in the format of the options. Raises ``PluginError``."""
    with console.status(f"Fetching {options.test}"):
        fetched = _fetch(options.test, connect)
    if options.format == "json":
        text = fetched.text
    else:
        text = fetched.type.renderers[options.format](fetched.document)
    output = options.output
    if output == Path("-") or (output is None and options.format != "html"):
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        return
    path = output or Path(f"{fetched.name}-report{SUFFIXES[options.format]}")
    write(path, text.encode())
    verdicts = fetched.document.verdicts
    console.print(f"{path}: " + ", ".join(f"{v.type} {v.status}" for v in verdicts))
    if options.open and not webbrowser.open(path.resolve().as_uri()):
        raise PluginError(f"no browser is available: open {path} yourself")


@dataclass(frozen=True)
class _Fetched:
    """A report: its type and name, its text, and the document that the text holds."""

    type: ReportType
    name: str
    text: str
    document: Any


def _fetch(source: str, connect: Callable[[], Cluster]) -> _Fetched:
    """The report from the cluster, or from the path of a .json file."""
    if source.endswith(".json"):
        return _read(Path(source))
    word, _, name = source.rpartition("/")
    report_type = report_type_of(word, name)
    cluster = connect()
    resource = cluster.resource(report_type.resource, name)
    text = report_text(cluster, resource)
    if text is None:
        raise PluginError(_no_report(report_type.resource, name, resource))
    return _Fetched(report_type, name, text, report_type.of_resource(resource, text))


def _read(path: Path) -> _Fetched:
    try:
        text = path.read_text()
    except OSError as error:
        raise PluginError(f"{path} can't be read: {error.strerror}") from None
    # Only a comparison's report has both keys; any other document is read as a load test's.
    is_comparison = '"results"' in text and '"loads"' in text
    report_type = COMPARISON_REPORT if is_comparison else LOAD_TEST_REPORT
    return _Fetched(report_type, path.stem, text, report_type.of_file(text, path.stem))


def _no_report(kind: Kind, name: str, resource: Mapping[str, Any]) -> str:
    state = (resource.get("status") or {}).get("state", "")
    describe = f"kubectl describe {kind.short}/{name}"
    if state == "Failed":
        return f"{kind.name} {name!r} failed before it had a report: {describe}"
    if state == "Complete":
        return f"{kind.name} {name!r} is complete, but has no report: {describe}"
    watch = f"kubectl get {kind.short} -w"
    return f"{kind.name} {name!r} has no report yet (it is {state or 'new'}): {watch}"
