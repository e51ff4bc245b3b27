"""The charts of a load test: its figures as lines, bars and shares."""

import math
from collections.abc import Iterable, Sequence

from kubectl_diffusion.charts import (
    Bars,
    Line,
    Mark,
    Share,
    bar_chart,
    clock,
    line_chart,
    linear,
    logarithmic,
    number,
    share_chart,
)
from kubectl_diffusion.documents.load_report import (
    Histogram,
    Point,
    Replica,
    Report,
    Search,
    Slo,
    Stage,
    Summary,
)
from kubectl_diffusion.report.rendering.chart import PARTS, Chart
from kubectl_diffusion.report.rendering.numbers import milliseconds, percent

BINS = 48
HALF = 6
MOST_SHARES = 2 * HALF
NAME_LETTERS = 11
"""The letters of a replica's name that a chart has room for."""


def charts_of(report: Report) -> list[Chart]:
    """Every chart that the report has the figures for, in reading order."""
    summary, seconds = report.summary, _seconds(report)
    stages = stage_marks(report.stages) if report.search is None else []
    charts = [
        requests_chart(report.timeline, seconds, stages),
        latency_chart(report.timeline, seconds, stages),
        users_chart(report.timeline, seconds, stages),
    ]
    if len({point.replicas for point in report.timeline} - {None}) > 1:
        charts.append(replicas_chart(report.timeline, seconds, stages))
    if report.search is not None and report.search.curve:
        charts.append(curve_chart(report.search, report.slo))
    if report.histogram.buckets:
        charts.append(distribution_chart(report.histogram, summary))
    if summary.timings:
        charts.append(timings_chart(summary))
    if report.replicas:
        charts.append(shares_chart(report.replicas))
    return charts


def _seconds(report: Report) -> float:
    """The length of the timeline, whose last interval is as long as the others."""
    points = report.timeline
    if not points:
        return report.summary.seconds or 1.0
    step = points[1].t - points[0].t if len(points) > 1 else 1.0
    return points[-1].t + step


def stage_marks(stages: Iterable[Stage]) -> list[Mark]:
    """Marks at the start of each stage but the first."""
    return [
        Mark(stage.start_seconds, "")
        for stage in stages
        if stage.start_seconds is not None and stage.start_seconds > 0
    ]


def requests_chart(points: Iterable[Point], seconds: float, marks: list[Mark]) -> Chart:
    points = list(points)
    good = [(point.t, point.requests_per_second) for point in points]
    bad = [(point.t, point.failures_per_second) for point in points]
    y = linear("per second", [value for _, value in (*good, *bad)])
    lines = [Line("requests", "first", good), Line("failures", "bad", bad)]
    svg = line_chart("Requests per second over time", clock("minutes", seconds), y, lines, marks)
    return Chart("requests", "Requests per second", "answered, and failed", svg)


def latency_chart(points: Iterable[Point], seconds: float, marks: list[Mark]) -> Chart:
    points = list(points)
    middle = [(point.t, _in_seconds(point.p50)) for point in points]
    high = [(point.t, _in_seconds(point.p95)) for point in points]
    y = linear("seconds", [value for _, value in (*middle, *high) if value is not None])
    lines = [Line("median", "first", middle), Line("95th percentile", "second", high)]
    svg = line_chart("Response times over time", clock("minutes", seconds), y, lines, marks)
    return Chart("latencies", "Response times", "of successful requests", svg)


def users_chart(points: Iterable[Point], seconds: float, marks: list[Mark]) -> Chart:
    users = [(point.t, float(point.users)) for point in points]
    if users:
        users.append((seconds, users[-1][1]))
    y = linear("users", [value for _, value in users])
    line = Line("users", "first", users, stepped=True)
    svg = line_chart("Users over time", clock("minutes", seconds), y, [line], marks)
    return Chart("users", "Users", "at the same time", svg)


def replicas_chart(points: Iterable[Point], seconds: float, marks: list[Mark]) -> Chart:
    counts = [(point.t, float(point.replicas)) for point in points if point.replicas is not None]
    counts.append((seconds, counts[-1][1]))
    y = linear("replicas", [value for _, value in counts])
    line = Line("replicas", "first", counts, stepped=True)
    svg = line_chart("Replicas over time", clock("minutes", seconds), y, [line], marks)
    return Chart("replicas", "Replicas", "that answered in each interval", svg)


def shares_chart(replicas: Sequence[Replica]) -> Chart:
    """The share of each replica, for the largest and the smallest shares where there are many."""
    shown = replicas if len(replicas) <= MOST_SHARES else (*replicas[:HALF], *replicas[-HALF:])
    shares = [
        # the end of a pod's name tells it apart
        Share(each.name[-NAME_LETTERS:], each.share, "first", percent(each.share))
        for each in shown
    ]
    svg = share_chart("Share of the requests that each replica got", shares)
    even = f"an even share is {percent(1 / len(replicas))}"
    return Chart("shares", "Requests by replica", even, svg)


def curve_chart(search: Search, slo: Slo | None) -> Chart:
    """Throughput against latency, one point a level, with the levels beyond the SLO apart."""
    curve = sorted(search.curve, key=lambda point: point.level)
    limits = {check.name: check.limit / 1000 for check in slo.checks} if slo else {}
    within = [(p.requests_per_second, _in_seconds(p.p95)) for p in curve if p.within_slo]
    beyond = [(p.requests_per_second, _in_seconds(p.p95)) for p in curve if not p.within_slo]
    middle = [(p.requests_per_second, _in_seconds(p.p50)) for p in curve]
    values = [value for _, value in (*within, *beyond, *middle) if value is not None]
    marks = []
    if "p95" in limits:
        marks.append(Mark(limits["p95"], "SLO of the 95th percentile", "y"))
        values.append(limits["p95"])
    x = linear("requests per second", [p.requests_per_second for p in curve])
    lines = [
        Line("median", "first", middle, dots=True),
        Line("95th percentile", "second", within, dots=True),
        Line("beyond the SLO", "bad", beyond, dots=True, dashed=True),
    ]
    svg = line_chart("Response time at each throughput", x, linear("seconds", values), lines, marks)
    word = "users" if search.over == "users" else "requests per second"
    note = "no level kept the SLO" if search.knee is None else f"knee: {number(search.knee)} {word}"
    return Chart("curve", "Throughput and response time", note, svg)


def distribution_chart(histogram: Histogram, summary: Summary) -> Chart:
    low, high = histogram.buckets[0][0], histogram.buckets[-1][0]
    low, high = max(low, 0.1) / 1.02, max(high, 0.1) * 1.02
    bins = binned(histogram, low, high, BINS)
    bars = [
        (a / 1000, b / 1000, float(count), f"{_span(a, b)}: {count} requests")
        for a, b, count in bins
        if count
    ]
    shown = (("p50", summary.p50), ("p95", summary.p95), ("p99", summary.p99))
    marks = [Mark(value / 1000, name) for name, value in shown if value]
    x = logarithmic("seconds", low / 1000, high / 1000)
    y = linear("requests", [float(count) for _, _, count in bins])
    svg = bar_chart("How response times are spread", x, y, Bars(bars), marks)
    return Chart("distribution", "Distribution of response times", "a logarithmic scale", svg)


def binned(
    histogram: Histogram, low: float, high: float, count: int
) -> list[tuple[float, float, int]]:
    """Buckets in ``count`` bins of one width on a logarithmic scale: start, end, count."""
    ratio = (high / low) ** (1 / count)
    edges = [low * ratio**n for n in range(count + 1)]
    counts = [0] * count
    for bound, bucket_count in histogram.buckets:
        place = math.floor(math.log(max(bound, low) / low, ratio))
        counts[min(max(place, 0), count - 1)] += bucket_count
    return list(zip(edges[:-1], edges[1:], counts, strict=True))


def timings_chart(summary: Summary) -> Chart:
    shares = [
        Share(label, summary.timings[name].mean, colour, milliseconds(summary.timings[name].mean))
        for name, (label, colour) in PARTS.items()
        if name in summary.timings
    ]
    svg = share_chart("Where the time of a request goes, on average", shares)
    return Chart("timings", "Where the time goes", "mean of successful requests", svg)


def _span(low: float, high: float) -> str:
    return f"{milliseconds(low)} to {milliseconds(high)}"


def _in_seconds(value: float | None) -> float | None:
    return None if value is None else value / 1000
