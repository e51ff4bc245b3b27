"""The HTML page of a load test."""

from kubectl_diffusion.charts import number
from kubectl_diffusion.documents.load_report import Figures, Report, Window
from kubectl_diffusion.report.loadtest.charts import charts_of
from kubectl_diffusion.report.loadtest.document import Document
from kubectl_diffusion.report.rendering.numbers import milliseconds, percent
from kubectl_diffusion.report.rendering.page import rendered

P99_NOTE = "one in a hundred was slower; p99 needs 299 successful requests"


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
    figures, of = (summary, "the whole run") if report.window is None else _window(report.window)
    failures = f"{figures.failures} of {figures.requests}, {of}"
    notes = {} if report.window is None else _intervals(report.window, of)
    tiles = [
        ("Requests per second", number(figures.requests_per_second), f"successful, {of}"),
        ("Median", milliseconds(figures.p50), notes.get("p50", f"half were faster, {of}")),
        (
            "95th percentile",
            milliseconds(figures.p95),
            notes.get("p95", f"one in twenty was slower, {of}"),
        ),
        ("99th percentile", milliseconds(figures.p99), notes.get("p99", P99_NOTE)),
        ("Failures", percent(figures.failure_ratio), failures),
        ("Most users", str(summary.max_users), "at the same time, in the whole run"),
    ]
    if report.search is not None:
        knee = report.search.knee
        unit = "users" if report.search.over == "users" else "per second"
        value = "none" if knee is None else f"{number(knee)} {unit}"
        tiles.insert(0, ("Within the SLO", value, "highest load that kept it"))
    return tiles


def _window(window: Window) -> tuple[Figures, str]:
    """The figures of the window, and the name of its stage."""
    load = f"{window.users} users"
    if window.rate_per_second is not None:
        load = f"{number(window.rate_per_second)} per second"
    return window, f"stage {window.stage}: {load}"


def _intervals(window: Window, of: str) -> dict[str, str]:
    """The 95% interval of each percentile, its independent draws, and the name of its stage."""
    return {
        name: f"95% interval: {_bound(each.low)} to {_bound(each.high)}, "
        f"from {each.draws} independent draws, {of}"
        for name, each in window.intervals.items()
    }


def _bound(value: float | None) -> str:
    return "unbounded" if value is None else milliseconds(value)
