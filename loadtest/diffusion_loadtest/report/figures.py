"""Figures of the report, as pure functions of samples; `load_report` defines each figure."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from math import ceil, fsum, inf
from typing import NamedTuple, TypeVar

from diffusion_loadtest.measure.percentiles import percentile
from diffusion_loadtest.measure.samples import SUCCESS, Samples
from diffusion_loadtest.measure.server_timing import STAGES
from diffusion_loadtest.report.intervals import NEEDED_FOR_P99
from diffusion_loadtest.report.load_report import (
    Percentiles,
    StageFigures,
    Summary,
    TimelinePoint,
    TimingFigures,
)
from diffusion_loadtest.target.retry_after import REFUSALS

PEAK_SECONDS = 10.0
TIMELINE_POINTS = 600

_TIMING_NAMES = dict(zip(STAGES, ("queue", "textEncoder", "denoise", "vae", "encode"), strict=True))
_OTHER = "other"

Level = TypeVar("Level", int, float)

UsersAt = tuple[float, int]
"""A second into the load, and the number of users from then on."""


class Window(NamedTuple):
    """The window of a stage, in seconds into the load; `rate` is None in the closed loop.

    The figures count the requests that start in `[measured, end)`, or in `[begin, end)` where
    `measured` is None. `reached` is the most users that a closed loop had in the window.
    `is_settled` says whether the loop had all of its users in the measured time.
    """

    stage: int
    begin: float
    end: float
    users: int
    rate: float | None = None
    measured: float | None = None
    reached: int | None = None
    is_settled: bool = True

    @property
    def start(self) -> float:
        """The second from which on the figures count requests."""
        return self.begin if self.measured is None else self.measured

    @property
    def seconds(self) -> float:
        """The length of the measured time: the divisor of rates."""
        return self.end - self.start


def run_seconds(samples: Samples, load_seconds: float) -> float:
    """The length of the timeline: to the end of the load, or to the last success after it."""
    ends = samples.success_ends()
    return max(load_seconds, ends[-1]) if ends else load_seconds


def summary_of(samples: Samples, window: Window, discarded: int) -> Summary:
    """The figures of the measured samples, over the window's length.

    Rates count the responses that arrived in the window, whenever their requests started. A
    response after the load is in no rate, since fewer and fewer requests were sent beside it.
    """
    counted = samples.only_measured()
    latencies = counted.latencies()
    seconds = window.seconds
    ends = [end for end in samples.success_ends() if window.start < end <= window.end]
    failed = _within(samples.failure_ends(), window)
    return Summary(
        requests=len(counted),
        failures=counted.failures,
        discarded=discarded + len(samples) - len(counted),
        failure_ratio=_ratio(counted.failures, len(counted)),
        failures_by_kind=counted.failures_by_kind(),
        refused=sum(n for kind, n in counted.failures_by_kind().items() if kind in REFUSALS),
        requests_per_second=_rate(len(ends), seconds),
        peak_requests_per_second=peak_rate(ends, seconds),
        failures_per_second=_rate(failed, seconds),
        seconds=round(seconds, 3),
        mean=_milliseconds(_mean(latencies)),
        max=_milliseconds(latencies[-1] if latencies else None),
        max_users=window.users,
        timings=timing_figures(counted),
        **percentiles(latencies).model_dump(),
    )


def samples_in(samples: Samples, window: Window) -> Samples:
    """The samples that the window's figures count."""
    return samples.of_stage(window.stage).only_measured().started_since(window.start)


def stage_figures(samples: Samples, window: Window) -> StageFigures:
    """The figures of one stage; the rate counts responses that arrived in its window."""
    staged = samples.of_stage(window.stage)
    counted = samples_in(samples, window)
    latencies = counted.latencies()
    means = {name: figures.mean for name, figures in timing_figures(counted).items()}
    return StageFigures(
        users=window.users,
        users_reached=window.users if window.reached is None else window.reached,
        rate_per_second=window.rate,
        start_seconds=round(window.begin, 3),
        duration_seconds=round(window.end - window.begin, 3),
        measured_from_seconds=round(window.start, 3),
        measured_seconds=round(window.seconds, 3),
        requests=len(counted),
        failures=counted.failures,
        discarded=len(staged) - len(counted),
        failure_ratio=_ratio(counted.failures, len(counted)),
        requests_per_second=arrival_rate(samples, window),
        mean=_milliseconds(_mean(latencies)),
        timings=means,
        **percentiles(latencies).model_dump(),
    )


def arrival_rate(samples: Samples, window: Window) -> float:
    """The successful responses per second that arrived in the window's measured time."""
    return _rate(samples.successes_within(window.start, window.end), window.seconds)


def answer_rate(samples: Samples, window: Window) -> float:
    """The responses per second that arrived in the window's measured time, failures included."""
    ends = [end for _, end in samples.spans()]
    return _rate(_within(ends, window), window.seconds)


def _within(ends: Sequence[float], window: Window) -> int:
    """The number of ascending moments in the window's measured time, its end included."""
    return bisect_right(ends, window.end) - bisect_right(ends, window.start)


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
    replicas: list[set[str]] = [set() for _ in range(count)]
    for sample in samples:
        index = min(int(sample.ended / width), count - 1)
        if sample.replica is not None:
            replicas[index].add(sample.replica)
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
                replicas=len(replicas[index]) if any(replicas) else None,
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
    """Percentiles of latencies in seconds, in ascending order; no p99 of too few latencies."""
    p50, p95, p99 = (_milliseconds(percentile(ordered, percent)) for percent in (50, 95, 99))
    return Percentiles(p50=p50, p95=p95, p99=p99 if len(ordered) >= NEEDED_FOR_P99 else None)


def highest_within(stages: Sequence[StageFigures]) -> Mapping[str, int | float | None]:
    """The summary's fields for the largest stage within the slo, below all stages beyond it."""
    users = [(stage.users, stage.within_slo) for stage in stages if stage.rate_per_second is None]
    rates = [
        (stage.rate_per_second, stage.within_slo)
        for stage in stages
        if stage.rate_per_second is not None
    ]
    return {"max_users_within_slo": _highest(users), "max_rate_within_slo": _highest(rates)}


def _highest(levels: Sequence[tuple[Level, bool | None]]) -> Level | None:
    beyond = min((level for level, within in levels if within is False), default=inf)
    return max((level for level, within in levels if within and level < beyond), default=None)


def _mean(values: Sequence[float]) -> float | None:
    return fsum(values) / len(values) if values else None


def _milliseconds(seconds: float | None) -> float | None:
    """Rounds to the microsecond, finer than the clock's precision, to keep the report small."""
    return None if seconds is None else round(seconds * 1000, 3)


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 6) if seconds > 0 else 0.0


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
