"""The charts of a Comparison: each figure of a load test, with one line a variant."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from kubectl_diffusion.charts import (
    DotRow,
    Line,
    Share,
    Stack,
    clock,
    dot_chart,
    line_chart,
    linear,
    number,
    spanning,
    stack_chart,
)
from kubectl_diffusion.charts.svg import Colour
from kubectl_diffusion.documents.comparison_report import (
    ComparisonReport,
    Estimate,
    Load,
    Result,
    Run,
)
from kubectl_diffusion.documents.load_report import Point
from kubectl_diffusion.report.rendering.chart import PARTS, Chart
from kubectl_diffusion.report.rendering.numbers import milliseconds

COLOURS: tuple[Colour, ...] = tuple(each for each in get_args(Colour) if each != "bad")
_DASHED = frozenset({"third", "fifth", "sixth"})
"""Colours that a person without red receptors takes for another one: of each pair, the second.

The pairs first and third, second and fifth, fourth and sixth differ by 9, 4 and 7 in CIE 1976
(Machado, Oliveira and Fernandes 2009), all others by more than 50.
"""


@dataclass(frozen=True)
class VariantSeries:
    """A variant in the charts: its colour, and the load of one repetition."""

    variant: str
    colour: Colour
    dashed: bool
    """Dashes tell apart two colours that look alike to some; a second round swaps them."""
    repetition: int | None = None
    load: Load | None = None


def variant_series(report: ComparisonReport) -> list[VariantSeries]:
    """The variants, the best first, each with the repetition of the median throughput."""
    series = []
    for place, row in enumerate(report.results):
        runs = sorted(
            (
                run
                for run in report.runs
                if run.variant == row.variant
                and run.load_test in report.loads
                and run.valid is not False
                and run.requests_per_second is not None
            ),
            key=lambda run: run.requests_per_second or 0.0,
        )
        colour = COLOURS[place % len(COLOURS)]
        run = runs[(len(runs) - 1) // 2] if runs else None
        series.append(
            VariantSeries(
                row.variant,
                colour,
                (colour in _DASHED) != (place >= len(COLOURS)),
                run.repetition if run else None,
                report.loads[run.load_test] if run else None,
            )
        )
    return series


def charts_of(report: ComparisonReport) -> list[Chart]:
    """Every chart that the report has the figures for, in reading order."""
    drawn = [
        each for each in variant_series(report) if each.load is not None and each.load.timeline
    ]
    charts = []
    if (ranked := ranking_chart(report)) is not None:
        charts.append(ranked)
    if drawn:
        charts += [
            _over_time("requests", "Requests per second", "per second", drawn, _rate),
            _over_time("latencies", "Response times", "median, seconds", drawn, _p50_seconds),
            _over_time("users", "Users", "users", drawn, _users, stepped=True),
        ]
    curves = [(each, _curve(each.load)) for each in variant_series(report) if each.load is not None]
    if any(points for _, points in curves):
        charts.append(_curves(curves))
    taxed = [row for row in report.results if row.tax]
    if taxed:
        charts.append(tax_chart(taxed))
    return charts


@dataclass(frozen=True)
class RankedFigure:
    """The figure that ranks the variants: its label, and its values of a row and of a run."""

    label: str
    of_row: Callable[[Result], Estimate | None]
    of_run: Callable[[Run], float | None]


def ranked_figure(report: ComparisonReport) -> RankedFigure:
    """The figure by the kind of load, as the operator ranks."""
    load = report.spec.get("loadTest", {})
    if "search" in load:
        return RankedFigure(
            "highest load within the SLO",
            lambda row: row.max_load_within_slo,
            lambda run: run.max_load_within_slo,
        )
    if "arrivals" in load:
        return RankedFigure("95th percentile, ms", lambda row: row.p95, lambda run: run.p95)
    return RankedFigure(
        "requests per second",
        lambda row: row.requests_per_second,
        lambda run: run.requests_per_second,
    )


def ranking_chart(report: ComparisonReport) -> Chart | None:
    """The ranked figure of each variant: its mean and interval, and every valid repetition."""
    figure = ranked_figure(report)
    rows = []
    for row in report.results:
        known = figure.of_row(row)
        if known is None:
            continue
        runs = (run for run in report.runs if run.variant == row.variant)
        values = [figure.of_run(run) for run in runs if run.valid is not False]
        dots = [value for value in values if value is not None]
        rows.append(DotRow(row.variant, dots, known.mean, known.low, known.high, estimate(known)))
    if not rows:
        return None
    ends = [
        value
        for row in rows
        for value in (row.mean, row.low, row.high, *row.values)
        if value is not None
    ]
    svg = dot_chart(f"Ranked by {figure.label}", rows, spanning(figure.label, ends))
    note = "a ring a repetition; above them the mean and its interval"
    return Chart("ranking", "The ranked figure", note, svg)


def _timeline(each: VariantSeries) -> tuple[Point, ...]:
    return each.load.timeline if each.load is not None else ()


def _seconds(points: Sequence[Point]) -> float:
    """The length of a timeline, whose last interval is as long as the others."""
    step = points[1].t - points[0].t if len(points) > 1 else 1.0
    return points[-1].t + step


def _over_time(
    name: str,
    title: str,
    unit: str,
    drawn: Sequence[VariantSeries],
    value: Callable[[Point], float | None],
    *,
    stepped: bool = False,
) -> Chart:
    lines = [
        Line(
            each.variant,
            each.colour,
            [(point.t, value(point)) for point in _timeline(each)],
            stepped=stepped,
            dashed=each.dashed,
        )
        for each in drawn
    ]
    x = clock("minutes", max(_seconds(_timeline(each)) for each in drawn))
    y = linear(unit, _values(lines))
    svg = line_chart(f"{title} over time, by variant", x, y, lines, legend=False)
    return Chart(name, title, "of each variant's median repetition", svg)


def _values(lines: Iterable[Line]) -> list[float]:
    return [value for line in lines for _, value in line.points if value is not None]


def _rate(point: Point) -> float | None:
    return point.requests_per_second


def _p50_seconds(point: Point) -> float | None:
    return None if point.p50 is None else point.p50 / 1000


def _users(point: Point) -> float | None:
    return float(point.users)


def _curve(load: Load | None) -> list[tuple[float, float | None]]:
    """Throughput and 95th percentile in seconds of each level of the load."""
    if load is None:
        return []
    levels = load.search.curve if load.search is not None else load.stages
    points = [(each.requests_per_second, each.p95) for each in levels if each.p95 is not None]
    return [(rate, p95 / 1000) for rate, p95 in points]


def _curves(curves: Sequence[tuple[VariantSeries, Sequence[tuple[float, float | None]]]]) -> Chart:
    lines = [
        Line(each.variant, each.colour, points, dots=True, dashed=each.dashed)
        for each, points in curves
    ]
    x = linear("requests per second", [rate for _, points in curves for rate, _ in points])
    y = linear("95th percentile, seconds", _values(lines))
    svg = line_chart("Response time at each throughput", x, y, lines, legend=False)
    return Chart("curve", "Throughput and response time", "a point a level of the load", svg)


def tax_chart(rows: Sequence[Result]) -> Chart:
    """The split of a request's time, with a row a variant."""
    stacks = []
    for row in rows:
        tax = row.tax or {}
        parts = [
            Share(label, tax[stage], colour, milliseconds(tax[stage]))
            for stage, (label, colour) in PARTS.items()
            if stage in tax
        ]
        total = sum(part.value for part in parts)
        stacks.append(Stack(row.variant, parts, milliseconds(total)))
    svg = stack_chart("Where the time of a request goes, by variant", stacks)
    return Chart("tax", "Where the time goes", "mean of successful requests", svg)


def estimate(figure: object, unit: str = "") -> str:
    """A mean and its interval as text: 8.1 (7.9 to 8.3)."""
    mean = getattr(figure, "mean", None)
    if mean is None:
        return "-"
    low, high = getattr(figure, "low", None), getattr(figure, "high", None)
    span = "" if low is None or high is None else f" ({number(low)} to {number(high)})"
    return f"{number(mean)}{unit}{span}"
