"""Report types: the resources that have reports, with readers and renderers of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.cluster.kinds import COMPARISON, LOAD_TEST, Kind
from kubectl_diffusion.report.comparison import document as comparison_document
from kubectl_diffusion.report.comparison import page as comparison_page
from kubectl_diffusion.report.comparison import tables as comparison_tables
from kubectl_diffusion.report.loadtest.document import of_file, of_test
from kubectl_diffusion.report.loadtest.page import html
from kubectl_diffusion.report.loadtest.tables import as_csv, as_markdown
from kubectl_diffusion.terminal.errors import PluginError


@dataclass(frozen=True)
class ReportType:
    """A kind of report: its resource, its readers and its renderers."""

    resource: Kind
    of_file: Callable[[str, str], Any]
    of_resource: Callable[[Mapping[str, Any], str], Any]
    renderers: Mapping[str, Callable[[Any], str]]


LOAD_TEST_REPORT = ReportType(
    LOAD_TEST,
    of_file,
    of_test,
    {"html": html, "csv": as_csv, "markdown": as_markdown},
)
COMPARISON_REPORT = ReportType(
    COMPARISON,
    comparison_document.of_file,
    comparison_document.of_comparison,
    {
        "html": comparison_page.html,
        "csv": comparison_tables.as_csv,
        "markdown": comparison_tables.as_markdown,
    },
)


def report_type_of(word: str, name: str) -> ReportType:
    """The type of a report by kubectl's name of its resource; a load test by default."""
    if not word:
        return LOAD_TEST_REPORT
    for report_type in (LOAD_TEST_REPORT, COMPARISON_REPORT):
        if word.lower() in report_type.resource.names:
            return report_type
    raise PluginError(
        f"only load tests and comparisons have reports: write lt/{name} or cmp/{name}"
    )


def report_text(cluster: Cluster, resource: Mapping[str, Any]) -> str | None:
    """The report's JSON, or ``None`` without one. Raises ``PluginError`` if it is lost."""
    reference = (resource.get("status") or {}).get("reportRef")
    if reference is None:
        return None
    text = cluster.config_map(reference["name"]).get(reference["key"], "")
    if not text:
        raise PluginError(f"ConfigMap {reference['name']!r} holds no report")
    return text
