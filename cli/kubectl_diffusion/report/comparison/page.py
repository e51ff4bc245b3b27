"""The HTML page of a Comparison."""

import json
from collections.abc import Sequence
from statistics import fmean

from kubectl_diffusion.charts import number
from kubectl_diffusion.documents.comparison_report import ComparisonReport, Result, unknown_figures
from kubectl_diffusion.report.comparison.charts import charts_of, estimate, variant_series
from kubectl_diffusion.report.comparison.document import ComparisonDocument
from kubectl_diffusion.report.rendering.chart import PARTS
from kubectl_diffusion.report.rendering.page import rendered

_MEBIBYTE = 2**20
COLD = {
    "scheduled": "Scheduled",
    "started": "Pulled and started",
    "model_load": "Loading took",
    "first_images": "First images took",
    "ready": "Ready",
}
"""Points of a cold start, and their headings."""


def html(document: ComparisonDocument) -> str:
    """The page."""
    report = document.report
    return rendered(
        "comparison.html.j2",
        charts_of(report),
        document=document,
        report=report,
        shown=variant_series(report),
        parts=[
            PARTS[stage] for stage in PARTS if any(stage in (r.tax or {}) for r in report.results)
        ],
        columns=[name for name, _ in cells(report.results[0])] if report.results else [],
        cells={row.variant: cells(row) for row in report.results},
        unknown=unknown_figures(report.results),
        cold=list(COLD.values()),
        cold_starts=cold_starts(report),
        repetitions=report.repetitions,
        cooldown=report.spec.get("cooldown", "30s"),
        load=load_in_words(report),
        manifest=json.dumps(document.manifest, indent=2),
    )


def cells(row: Result) -> list[tuple[str, str]]:
    """The figures of a row: heading and text of each."""
    return [
        ("Requests/s", estimate(row.requests_per_second)),
        ("p50 ms", estimate(row.p50)),
        ("p95 ms", estimate(row.p95)),
        ("p99 ms", estimate(row.p99)),
        ("Failures", f"{row.failures} of {row.requests}"),
        ("SLO", slo(row)),
        ("Load within SLO", load_within_slo(row)),
        ("Efficiency", estimate(row.efficiency)),
        ("Cold start s", estimate(row.cold_start_seconds)),
        ("Memory", _mebibytes(row.memory_bytes)),
        ("GPU memory", _mebibytes(row.device_memory_bytes)),
        ("GPU busy", _or_unknown(row.gpu_utilisation)),
        ("Joules/image", _or_unknown(row.joules_per_image)),
        ("Dollars/1,000 images", _or_unknown(row.cost_per_thousand_images)),
        ("p", _or_unknown(row.p_value, "-")),
    ]


def slo(row: Result) -> str:
    """The verdict on the SLO with the number of rounds that met it."""
    if row.slo_met is None:
        return "-"
    verdict = "met" if row.slo_met else "missed"
    return verdict if row.slo_met_runs is None else f"{verdict} ({row.slo_met_runs} of {row.runs})"


def load_within_slo(row: Result) -> str:
    """The highest load within the SLO, and the number of rounds without such a load."""
    if not row.below_least_runs:
        return estimate(row.max_load_within_slo)
    below = f"below the least in {row.below_least_runs} of {row.runs}"
    known = row.max_load_within_slo is not None
    return f"{estimate(row.max_load_within_slo)}, {below}" if known else below


def cold_starts(report: ComparisonReport) -> list[tuple[str, list[str]]]:
    """The cold start of each variant: mean seconds until each point, over its repetitions."""
    rows = []
    for row in report.results:
        starts = [run.cold_start for run in report.runs if run.variant == row.variant]
        known = [start for start in starts if start is not None]
        if known:
            rows.append(
                (row.variant, [_mean([getattr(s, point) for s in known]) for point in COLD])
            )
    return rows


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(fmean(known)) if known else "unknown"


def _mebibytes(count: int | None) -> str:
    return "unknown" if count is None else f"{number(count / _MEBIBYTE)} MiB"


def _or_unknown(value: float | None, default: str = "unknown") -> str:
    return default if value is None else number(value)


def load_in_words(report: ComparisonReport) -> str:
    """The load of all variants, in a few words."""
    load = report.spec.get("loadTest", {})
    if "search" in load:
        search = load["search"]
        return f"a search over {search['over']} for the highest load within the SLO"
    if "arrivals" in load:
        stages = ", ".join(
            f"{stage['ratePerSecond']} a second for {stage['duration']}"
            for stage in load["arrivals"]["stages"]
        )
        return f"requests that arrive at a rate ({stages})"
    stages = ", ".join(
        f"{stage['users']} for {stage['duration']}" for stage in load["users"]["stages"]
    )
    return f"users that send a request after the response to their last ({stages})"
