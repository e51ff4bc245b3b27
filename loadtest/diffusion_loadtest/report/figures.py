"""Figures of the report, as pure functions of samples; `load_report` defines each figure."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil, fsum
from typing import NamedTuple

from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.measure.samples import SUCCESS, Samples
from diffusion_loadtest.measure.server_timing import STAGES
from diffusion_loadtest.report.load_report import (
    Percentiles,
    StageFigures,
    Summary,
    TimelinePoint,
    TimingFigures,
)

PEAK_SECONDS = 10.0
TIMELINE_POINTS = 600

_TIMING_NAMES = dict(zip(STAGES, ("queue", "textEncoder", "denoise", "vae", "encode"), strict=True))
_OTHER = "other"

UsersAt = tuple[float, int]
"""A second into the load, and the number of users from then on."""


class Window(NamedTuple):
    """The window of a stage, in seconds into the load; `rate` is None in the closed loop.

    Requests that start in `[begin, end)` belong to the window.
    """

    stage: int
    begin: float
    end: float
    users: int
    rate: float | None = None


def run_seconds(samples: Samples, load_seconds: float) -> float:
    """The length of the run: to the end of the load, or to the last success after it.

    Failures don't lengthen the run: a request that hangs at the end would lower every rate.
    """
    ends = samples.success_ends()
    return max(load_seconds, ends[-1]) if ends else load_seconds


def summary_of(samples: Samples, window: Window, discarded: int) -> Summary:
    """The figures of the measured samples, over the window's length.

    Rates count the responses that arrived in the window, whenever their requests started.
    """
    counted = samples.only_measured()
    latencies = counted.latencies()
    seconds = window.end - window.begin
    ends = [end for end in samples.success_ends() if window.begin < end <= window.end]
    return Summary(
        requests=len(counted),
        failures=counted.failures,
        discarded=discarded + len(samples) - len(counted),
        failure_ratio=_ratio(counted.failures, len(counted)),
        failures_by_kind=counted.failures_by_kind(),
        requests_per_second=_rate(len(ends), seconds),
        peak_requests_per_second=peak_rate(ends, seconds),
        failures_per_second=_rate(counted.failures, seconds),
        seconds=round(seconds, 3),
        mean=_milliseconds(_mean(latencies)),
        max=_milliseconds(latencies[-1] if latencies else None),
        max_users=window.users,
        timings=timing_figures(counted),
        **percentiles(latencies).model_dump(),
    )


def stage_figures(samples: Samples, window: Window, until: float | None = None) -> StageFigures:
    """The figures of one stage; the rate counts responses up to `until`, by default its end."""
    staged = samples.of_stage(window.stage)
    counted = staged.only_measured()
    latencies = counted.latencies()
    arrivals = window if until is None else window._replace(end=until)
    arrived = _within(samples.success_ends(), arrivals)
    means = {name: figures.mean for name, figures in timing_figures(counted).items()}
    return StageFigures(
        users=window.users,
        rate_per_second=window.rate,
        start_seconds=round(window.begin, 3),
        duration_seconds=round(window.end - window.begin, 3),
        requests=len(counted),
        failures=counted.failures,
        discarded=len(staged) - len(counted),
        failure_ratio=_ratio(counted.failures, len(counted)),
        requests_per_second=_rate(arrived, arrivals.end - arrivals.begin),
        mean=_milliseconds(_mean(latencies)),
        timings=means,
        **percentiles(latencies).model_dump(),
    )


def _within(ends: Sequence[float], window: Window) -> int:
    """The number of ascending moments in the window, its end included."""
    return bisect_right(ends, window.end) - bisect_right(ends, window.begin)


def timing_figures(samples: Samples) -> dict[str, TimingFigures]:
    """The split of the successful responses' time, by the target's Server-Timing.

    `other` is the rest of the latency: network, framework, and the wait to be sent. A response
    without one of the parts has no `other`.
    """
    parts = {name: samples.timings(stage) for stage, name in _TIMING_NAMES.items()}
    parts[_OTHER] = sorted(
        sample.latency * 1000 - sum(sample.timing)
        for sample in samples
        if sample.failure is SUCCESS and not any(value != value for value in sample.timing)  # noqa: PLR0124  NaN is unknown
    )
    return {name: _timing(values) for name, values in parts.items() if values}


def _timing(ordered: Sequence[float]) -> TimingFigures:
    p50, p95 = percentile(ordered, 50), percentile(ordered, 95)
    if p50 is None or p95 is None:
        raise ValueError("a timing needs one value at least")
    return TimingFigures(
        mean=round(fsum(ordered) / len(ordered), 3), p50=round(p50, 3), p95=round(p95, 3)
    )


def peak_rate(ends: Iterable[float], seconds: float) -> float:
    """The highest rate of responses over any PEAK_SECONDS in a row, or over a shorter run."""
    width = min(PEAK_SECONDS, seconds)
    window: deque[float] = deque()
    best = 0
    for end in ends:
        window.append(end)
        while window[0] <= end - width:
            window.popleft()
        best = max(best, len(window))
    return _rate(best, width)


def in_flight(samples: Samples) -> list[UsersAt]:
    """The number of requests in flight, from each moment at which it changes."""
    changes = sorted(change for span in samples.spans() for change in _start_and_end(*span))
    counts = accumulate(difference for _, difference in changes)
    return [(at, count) for (at, _), count in zip(changes, counts, strict=True)]


def _start_and_end(start: float, end: float) -> tuple[UsersAt, UsersAt]:
    return (start, 1), (end, -1)


def most_users(users: Iterable[UsersAt], window: Window) -> int:
    """The most users at once within the window."""
    before, most = 0, 0
    for at, count in users:
        if at >= window.end:
            break
        if at <= window.begin:
            before = count
        else:
            most = max(most, count)
    return max(before, most)


def timeline(
    samples: Samples, users: Sequence[UsersAt], seconds: float
) -> tuple[TimelinePoint, ...]:
    """The timeline: a point per second, or per whole seconds for at most TIMELINE_POINTS points.

    The last interval takes the rest of the run, so its length differs by up to a half.
    """
    width = float(max(1, ceil(seconds / TIMELINE_POINTS)))
    count = max(1, round(seconds / width))
    latencies: list[list[float]] = [[] for _ in range(count)]
    failures = [0] * count
    for sample in samples:
        index = min(int(sample.ended / width), count - 1)
        if sample.failure is SUCCESS:
            latencies[index].append(sample.latency)
        else:
            failures[index] += 1
    most = _most_users(users, width, count)
    points = []
    for index in range(count):
        length = width if index < count - 1 else seconds - index * width
        latency = percentiles(sorted(latencies[index]))
        points.append(
            TimelinePoint(
                t=round(index * width, 3),
                users=most[index],
                requests_per_second=_rate(len(latencies[index]), length),
                failures_per_second=_rate(failures[index], length),
                p50=latency.p50,
                p95=latency.p95,
            )
        )
    return tuple(points)


def _most_users(users: Sequence[UsersAt], width: float, count: int) -> list[int]:
    most = [0] * count
    current, position = 0, 0
    for index in range(count):
        end = (index + 1) * width if index < count - 1 else float("inf")
        most[index] = current
        while position < len(users) and users[position][0] < end:
            at, current = users[position]
            # a change at the interval's very start replaces the users before it
            most[index] = current if at <= index * width else max(most[index], current)
            position += 1
    return most


def percentiles(ordered: Sequence[float]) -> Percentiles:
    """Percentiles of latencies in seconds, which are in ascending order."""
    p50, p95, p99 = (_milliseconds(percentile(ordered, percent)) for percent in (50, 95, 99))
    return Percentiles(p50=p50, p95=p95, p99=p99)


def highest_within(stages: Iterable[StageFigures]) -> Mapping[str, int | float | None]:
    """The summary's fields for the largest stage within the slo."""
    within = [stage for stage in stages if stage.within_slo]
    rates = [stage.rate_per_second for stage in within if stage.rate_per_second is not None]
    users = [stage.users for stage in within if stage.rate_per_second is None]
    return {
        "max_users_within_slo": max(users, default=None),
        "max_rate_within_slo": max(rates, default=None),
    }


def _mean(values: Sequence[float]) -> float | None:
    return fsum(values) / len(values) if values else None


def _milliseconds(seconds: float | None) -> float | None:
    """Rounds to the microsecond, finer than the clock's precision, to keep the report small."""
    return None if seconds is None else round(seconds * 1000, 3)


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 6) if seconds > 0 else 0.0


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
