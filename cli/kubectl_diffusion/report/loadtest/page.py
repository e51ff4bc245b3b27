"""The HTML page of a load test."""

from kubectl_diffusion.charts import number
from kubectl_diffusion.documents.load_report import Report
from kubectl_diffusion.report.loadtest.charts import charts_of
from kubectl_diffusion.report.loadtest.document import Document
from kubectl_diffusion.report.rendering.numbers import milliseconds, percent
from kubectl_diffusion.report.rendering.page import rendered


def html(document: Document) -> str:
    """The page of a load test."""
    report = document.report
    return rendered(
        "loadtest.html.j2",
        charts_of(report),
        document=document,
        report=report,
        summary=report.summary,
        tiles=main_figures(report),
    )


def main_figures(report: Report) -> list[tuple[str, str, str]]:
    """The main figures: name, value, and a note of each."""
    summary = report.summary
    tiles = [
        ("Requests per second", number(summary.requests_per_second), "successful, on average"),
        ("Median", milliseconds(summary.p50), "half were faster"),
        ("95th percentile", milliseconds(summary.p95), "one in twenty was slower"),
        ("99th percentile", milliseconds(summary.p99), "one in a hundred was slower"),
        ("Failures", percent(summary.failure_ratio), f"{summary.failures} of {summary.requests}"),
        ("Most users", str(summary.max_users), "at the same time"),
    ]
    if report.search is not None:
        knee = report.search.knee
        unit = "users" if report.search.over == "users" else "per second"
        value = "none" if knee is None else f"{number(knee)} {unit}"
        tiles.insert(0, ("Within the SLO", value, "highest load that kept it"))
    return tiles
