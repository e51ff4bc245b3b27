"""``kubectl diffusion report``: the report of a load test, saved or opened."""

import sys
import webbrowser
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from kubectl_diffusion.cluster import Cluster
from kubectl_diffusion.errors import PluginError
from kubectl_diffusion.predict import write
from kubectl_diffusion.report.document import Document, of_file, of_test
from kubectl_diffusion.report.page import html
from kubectl_diffusion.report.tables import as_csv, as_markdown

KINDS = {"lt", "loadtest", "loadtests", "loadtests.diffusion.dev"}
RENDERERS: dict[str, tuple[str, Callable[[Document], str]]] = {
    "html": (".html", html),
    "json": (".json", lambda document: document.report.model_dump_json(by_alias=True, indent=1)),
    "csv": (".csv", as_csv),
    "markdown": (".md", as_markdown),
}


def report(options: Namespace, connect: Callable[[], Cluster], console: Console) -> None:
    """Write the report that the options ask for. Raises ``PluginError``."""
    with console.status(f"Fetching {options.test}"):
        name, text, document = _fetch(options.test, connect)
    suffix, render = RENDERERS[options.format]
    made = text if options.format == "json" else render(document)
    output = options.output
    if output == Path("-") or (output is None and options.format != "html"):
        sys.stdout.write(made if made.endswith("\n") else f"{made}\n")
        return
    path = output or Path(f"{name}-report{suffix}")
    write(path, made.encode())
    console.print(f"{path}: " + ", ".join(f"{v.type} {v.status}" for v in document.verdicts))
    if options.open and not webbrowser.open(path.resolve().as_uri()):
        raise PluginError(f"there is no browser to open it with: open {path} yourself")


def _fetch(test: str, connect: Callable[[], Cluster]) -> tuple[str, str, Document]:
    """Name, the runner's text, and what is made of it; a path to a .json file needs no cluster."""
    if test.endswith(".json"):
        path = Path(test)
        try:
            text = path.read_text()
        except OSError as error:
            raise PluginError(f"{path} can't be read: {error.strerror}") from None
        return path.stem, text, of_file(text, path.stem)
    kind, _, name = test.rpartition("/")
    if kind and kind.lower() not in KINDS:
        raise PluginError(f"there are reports of load tests only: write lt/{name}")
    cluster = connect()
    found = cluster.resource("LoadTest", name)
    reference = (found.get("status") or {}).get("reportRef")
    if reference is None:
        raise PluginError(_no_report(name, found))
    text = cluster.config_map(reference["name"]).get(reference["key"], "")
    if not text:
        raise PluginError(f"ConfigMap {reference['name']!r} holds no report any more")
    return name, text, of_test(found, text)


def _no_report(name: str, test: dict[str, object]) -> str:
    status = test.get("status")
    state = status.get("state", "") if isinstance(status, dict) else ""
    if state == "Failed":
        return f"LoadTest {name!r} failed before there was a report: kubectl describe lt/{name}"
    return f"LoadTest {name!r} has no report yet (it is {state or 'new'}): kubectl get lt -w"
