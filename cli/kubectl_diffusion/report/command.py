"""``kubectl diffusion report``: the report of a load test or a comparison, saved or opened."""

import sys
import webbrowser
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kubectl_diffusion.cluster import kinds
from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.cluster.kinds import Kind
from kubectl_diffusion.report.comparison import document as comparison_document
from kubectl_diffusion.report.comparison import page as comparison_page
from kubectl_diffusion.report.comparison import tables as comparison_tables
from kubectl_diffusion.report.loadtest.document import of_file, of_test
from kubectl_diffusion.report.loadtest.page import html
from kubectl_diffusion.report.loadtest.tables import as_csv, as_markdown
from kubectl_diffusion.terminal.errors import PluginError
from kubectl_diffusion.terminal.files import write

SUFFIXES = {"html": ".html", "json": ".json", "csv": ".csv", "markdown": ".md"}


@dataclass(frozen=True)
class Reported:
    """A kind of resource that has reports, and how they are read and written."""

    kind: Kind
    of_file: Callable[[str, str], Any]
    of_resource: Callable[[Mapping[str, Any], str], Any]
    renderers: Mapping[str, Callable[[Any], str]]


LOAD_TEST = Reported(
    kinds.LOAD_TEST,
    of_file,
    of_test,
    {"html": html, "csv": as_csv, "markdown": as_markdown},
)
COMPARISON = Reported(
    kinds.COMPARISON,
    comparison_document.of_file,
    comparison_document.of_comparison,
    {
        "html": comparison_page.html,
        "csv": comparison_tables.as_csv,
        "markdown": comparison_tables.as_markdown,
    },
)


def report(options: Namespace, connect: Callable[[], Cluster], console: Console) -> None:
    """Write the report that the options ask for. Raises ``PluginError``."""
    with console.status(f"Fetching {options.test}"):
        found = _fetch(options.test, connect)
    if options.format == "json":
        made = found.text
    else:
        made = found.kind.renderers[options.format](found.document)
    output = options.output
    if output == Path("-") or (output is None and options.format != "html"):
        sys.stdout.write(made if made.endswith("\n") else f"{made}\n")
        return
    path = output or Path(f"{found.name}-report{SUFFIXES[options.format]}")
    write(path, made.encode())
    verdicts = found.document.verdicts
    console.print(f"{path}: " + ", ".join(f"{v.type} {v.status}" for v in verdicts))
    if options.open and not webbrowser.open(path.resolve().as_uri()):
        raise PluginError(f"there is no browser to open it with: open {path} yourself")


@dataclass(frozen=True)
class _Fetched:
    """A report: whose it is, the text it was written as, and what is made of it."""

    kind: Reported
    name: str
    text: str
    document: Any


def _fetch(asked: str, connect: Callable[[], Cluster]) -> _Fetched:
    """The report that was asked for; a path to a .json file needs no cluster."""
    if asked.endswith(".json"):
        return _read(Path(asked))
    word, _, name = asked.rpartition("/")
    kind = _kind_called(word, name)
    cluster = connect()
    resource = cluster.resource(kind.kind, name)
    reference = (resource.get("status") or {}).get("reportRef")
    if reference is None:
        raise PluginError(_no_report(kind, name, resource))
    text = cluster.config_map(reference["name"]).get(reference["key"], "")
    if not text:
        raise PluginError(f"ConfigMap {reference['name']!r} holds no report any more")
    return _Fetched(kind, name, text, kind.of_resource(resource, text))


def _kind_called(word: str, name: str) -> Reported:
    """The kind by a name that kubectl would know; none is a load test."""
    if not word:
        return LOAD_TEST
    for kind in (LOAD_TEST, COMPARISON):
        if word.lower() in kind.kind.names:
            return kind
    raise PluginError(
        f"there are reports of load tests and comparisons only: write lt/{name} or cmp/{name}"
    )


def _read(path: Path) -> _Fetched:
    try:
        text = path.read_text()
    except OSError as error:
        raise PluginError(f"{path} can't be read: {error.strerror}") from None
    # What only a comparison's report has; anything else is judged as a load test's.
    kind = COMPARISON if '"results"' in text and '"loads"' in text else LOAD_TEST
    return _Fetched(kind, path.stem, text, kind.of_file(text, path.stem))


def _no_report(kind: Reported, name: str, resource: Mapping[str, Any]) -> str:
    state = (resource.get("status") or {}).get("state", "")
    describe = f"kubectl describe {kind.kind.short}/{name}"
    if state == "Failed":
        return f"{kind.kind.name} {name!r} failed before there was a report: {describe}"
    if state == "Complete":
        return f"{kind.kind.name} {name!r} has ended and its report was not written: {describe}"
    say = f"kubectl get {kind.kind.short} -w"
    return f"{kind.kind.name} {name!r} has no report yet (it is {state or 'new'}): {say}"
