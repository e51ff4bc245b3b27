"""Tables of the stages, as CSV and as Markdown."""

import csv
import io

from kubectl_diffusion.charts import number
from kubectl_diffusion.documents.load_report import Figures, Report
from kubectl_diffusion.report.loadtest.document import Document
from kubectl_diffusion.report.rendering.numbers import milliseconds, percent

COLUMNS = (
    "stage",
    "users",
    "rate_per_second",
    "seconds",
    "requests",
    "failures",
    "requests_per_second",
    "p50_ms",
    "p95_ms",
    "p99_ms",
)


def as_csv(document: Document) -> str:
    """A table with a row a stage, and one for the whole run."""
    report = document.report
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for place, stage in enumerate(report.stages, start=1):
        head = (place, stage.users, _or_nothing(stage.rate_per_second), stage.duration_seconds)
        rows.writerow((*head, *_row(stage)))
    summary = report.summary
    head_of_all = ("whole", summary.max_users, "", _or_nothing(summary.seconds))
    rows.writerow((*head_of_all, *_row(summary)))
    return text.getvalue()


def _row(figures: Figures) -> tuple[object, ...]:
    latencies = (_or_nothing(value) for value in (figures.p50, figures.p95, figures.p99))
    return (figures.requests, figures.failures, figures.requests_per_second, *latencies)


def _or_nothing(value: float | None) -> object:
    return "" if value is None else value


def as_markdown(document: Document) -> str:
    """Verdicts and a table of the stages, as Markdown."""
    report = document.report
    lines = [f"# Load test {document.title}", ""]
    lines += [f"- **{each.type}: {each.status}** {each.message}" for each in document.verdicts]
    lines += ["", f"Target {report.target.url}, run {report.run}, {report.start_time}.", ""]
    lines += [
        "| stage | load | requests | failures | per second | p50 | p95 | p99 |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for place, stage in enumerate(report.stages, start=1):
        load = f"{stage.users} users"
        if stage.rate_per_second is not None:
            load = f"{number(stage.rate_per_second)} per second"
        lines.append(_line(str(place), load, stage))
    lines.append(_line("whole", _whole(report), report.summary))
    return "\n".join(lines) + "\n"


def _whole(report: Report) -> str:
    return f"up to {report.summary.max_users} users"


def _line(name: str, load: str, figures: Figures) -> str:
    latencies = " | ".join(milliseconds(value) for value in (figures.p50, figures.p95, figures.p99))
    failed = f"{figures.failures} ({percent(figures.failure_ratio)})"
    rate = number(figures.requests_per_second)
    return f"| {name} | {load} | {figures.requests} | {failed} | {rate} | {latencies} |"
