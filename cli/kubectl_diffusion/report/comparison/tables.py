"""Tables of the ranked variants, as CSV and as Markdown."""

import csv
import io

from kubectl_diffusion.documents.comparison_report import Estimate, Result, unknown_figures
from kubectl_diffusion.report.comparison.charts import estimate
from kubectl_diffusion.report.comparison.document import ComparisonDocument

INTERVALS = {
    "requests_per_second": "requests_per_second",
    "p50": "p50_ms",
    "p95": "p95_ms",
    "p99": "p99_ms",
    "max_load_within_slo": "max_load_within_slo",
    "efficiency": "efficiency",
    "cold_start_seconds": "cold_start_seconds",
}
"""Fields with an interval, and the headings of their three columns."""
PLAIN = (
    "failure_ratio",
    "slo_met_runs",
    "below_least_runs",
    "memory_bytes",
    "device_memory_bytes",
    "gpu_utilisation",
    "joules_per_image",
    "cost_per_thousand_images",
    "images_per_dollar",
    "p_value",
)

HEADINGS = (
    "rank",
    "variant",
    "requests/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "failures",
    "efficiency",
    "tax ms",
)


def as_csv(document: ComparisonDocument) -> str:
    """A table with a row a variant; unknown figures are empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    columns = [f"{name}{end}" for name in INTERVALS.values() for end in ("", "_low", "_high")]
    rows.writerow(
        ["rank", "variant", "runs", "requests", "failures", *columns, *PLAIN, "not_ranked"]
    )
    for row in document.report.results:
        cells = [row.rank, row.variant, row.runs, row.requests, row.failures]
        figures = [cell for name in INTERVALS for cell in _three(getattr(row, name))]
        plain = [getattr(row, name) for name in PLAIN]
        rows.writerow(
            ["" if cell is None else cell for cell in (*cells, *figures, *plain, row.reason)]
        )
    return text.getvalue()


def _three(figure: Estimate | None) -> tuple[float | None, ...]:
    return (None, None, None) if figure is None else (figure.mean, figure.low, figure.high)


def as_markdown(document: ComparisonDocument) -> str:
    """The conclusion, and a table of the variants, as Markdown."""
    report = document.report
    lines = [f"# Comparison {document.title}", ""]
    lines += [f"- **{each.type}: {each.status}** {each.message}" for each in document.verdicts]
    lines += ["", f"Recommended: {report.recommended or 'none'}. {report.conclusion}.", ""]
    lines += [f"| {' | '.join(HEADINGS)} |", "|---:|---|---:|---:|---:|---:|---:|---:|---|"]
    lines += [_line(row) for row in report.results]
    method = report.method
    description = (
        f"Means of {report.repetitions} repetitions and their "
        f"{method.confidence:.0%} intervals. {method.test}, alpha {method.alpha}, "
        f"smallest effect {method.smallest_effect:.0%}."
    )
    if report.design is not None and report.design.message:
        description += f" The design: {report.design.message}."
    lines += ["", description]
    lines += [f"- {row.variant}: {row.message}" for row in report.results if row.reason]
    lines += [f"- {sentence}" for sentence in unknown_figures(report.results)]
    return "\n".join(lines) + "\n"


def _line(row: Result) -> str:
    figures = (row.requests_per_second, row.p50, row.p95, row.p99)
    cells = " | ".join(estimate(figure) for figure in figures)
    tax = ", ".join(f"{stage} {value}" for stage, value in (row.tax or {}).items()) or "-"
    rank = row.rank if row.rank is not None else "-"
    failed = f"{row.failures} of {row.requests}"
    return f"| {rank} | {row.variant} | {cells} | {failed} | {estimate(row.efficiency)} | {tax} |"
