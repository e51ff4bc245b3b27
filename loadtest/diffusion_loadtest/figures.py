"""Turns samples into the figures of the report. Pure; definitions stand in `report`."""

from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil

from .plan import Stage
from .report import Percentiles, StageFigures, Summary, TimelinePoint
from .samples import SUCCESS, Sample, Samples, percentile

PEAK_SECONDS = 10.0
TIMELINE_POINTS = 600

UsersAt = tuple[float, int]
"""From this second into the load there are so many users."""


def run_seconds(samples: Iterable[Sample], load_seconds: float) -> float:
    """The run's length: that of the load, or until the last success after it.

    Failures do not lengthen it, or a request that hangs at the end would lower every rate.
    """
    return max(
        load_seconds, max((s.ended for s in samples if s.failure is SUCCESS), default=load_seconds)
    )


def summary_of(samples: Samples, seconds: float, max_users: int) -> Summary:
    """The whole run's figures, `seconds` being its length."""
    successes = len(samples) - samples.failures
    return Summary(
        requests=len(samples),
        failures=samples.failures,
        failures_by_kind=samples.failures_by_kind(),
        requests_per_second=_rate(successes, seconds),
        peak_requests_per_second=peak_rate(
            (s.ended for s in samples if s.failure is SUCCESS), seconds
        ),
        failures_per_second=_rate(samples.failures, seconds),
        max_users=max_users,
        **_percentiles(s.latency for s in samples if s.failure is SUCCESS).model_dump(),
    )


def stage_figures(
    samples: Samples, stages: Sequence[Stage], seconds: float
) -> tuple[StageFigures, ...]:
    """The figures of the stages that had begun when the run ended after `seconds`."""
    latencies: list[list[float]] = [[] for _ in stages]
    requests, failures, arrived = ([0] * len(stages) for _ in range(3))
    ends = _ends(stages, seconds)
    now = 0
    for sample in samples:
        while now < len(ends) - 1 and sample.ended > ends[now]:
            now += 1
        requests[sample.stage] += 1
        if sample.failure is SUCCESS:
            latencies[sample.stage].append(sample.latency)
            arrived[now] += 1
        else:
            failures[sample.stage] += 1
    begins = (0.0, *ends)
    return tuple(
        StageFigures(
            users=stages[index].users,
            duration_seconds=round(stages[index].duration_seconds, 3),
            requests=requests[index],
            failures=failures[index],
            requests_per_second=_rate(arrived[index], ends[index] - begins[index]),
            **_percentiles(latencies[index]).model_dump(),
        )
        for index in range(len(ends))
    )


def _ends(stages: Sequence[Stage], seconds: float) -> list[float]:
    """When each stage that was begun ended; the last of them ends with the run."""
    ends: list[float] = []
    begin = 0.0
    for stage in stages:
        if ends and begin >= seconds:
            break
        begin += stage.duration_seconds
        ends.append(begin)
    ends[-1] = seconds
    return ends


def peak_rate(ended: Iterable[float], seconds: float) -> float:
    """The most responses per second over any PEAK_SECONDS in a row, or over a shorter run."""
    width = min(PEAK_SECONDS, seconds)
    window: deque[float] = deque()
    best = 0
    for end in ended:
        window.append(end)
        while window[0] <= end - width:
            window.popleft()
        best = max(best, len(window))
    return _rate(best, width)


def timeline(
    samples: Samples, users: Sequence[UsersAt], seconds: float
) -> tuple[TimelinePoint, ...]:
    """One point per second, or per as many whole seconds as keep it to TIMELINE_POINTS points.

    The last interval takes the rest of the run, so it may be up to half longer or shorter.
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
        found = _percentiles(latencies[index])
        points.append(
            TimelinePoint(
                t=round(index * width, 3),
                users=most[index],
                requests_per_second=_rate(len(latencies[index]), length),
                failures_per_second=_rate(failures[index], length),
                p50=found.p50,
                p95=found.p95,
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
            # a change at the interval's very start leaves nothing of what was before it
            most[index] = current if at <= index * width else max(most[index], current)
            position += 1
    return most


def _percentiles(latencies: Iterable[float]) -> Percentiles:
    ordered = sorted(latencies)
    p50, p95, p99 = (_milliseconds(percentile(ordered, percent)) for percent in (50, 95, 99))
    return Percentiles(p50=p50, p95=p95, p99=p99)


def _milliseconds(seconds: float | None) -> float | None:
    """To the microsecond, which is finer than the clock is true and keeps the report small."""
    return None if seconds is None else round(seconds * 1000, 3)


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 6) if seconds > 0 else 0.0
