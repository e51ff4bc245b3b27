"""Progress and report of a run, as published.

Latencies are milliseconds of successful requests only. The percentile q is the nearest-rank one:
the smallest measured latency that at least q per cent of the successful requests did not exceed.
`requests` counts all requests, successes and failures.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from diffusion_loadtest.plan.documents import Document, VersionedDocument

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, description="per second")]
Ratio = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, description="milliseconds; null without a success")]
Level = Annotated[float, Field(ge=0, description="users, or requests per second")]
State = Literal["Waiting", "Running", "Finished", "Failed"]
Phase = Literal["Warmup", "Load", "Probe", "Draining"]


class Progress(VersionedDocument):
    """The progress of a run; `stage` counts from 1 and is 0 before the load.

    The stages of a search are its probes, and `stages` is the most that it can have.
    """

    run: str
    state: State
    phase: Phase | None = None
    stage: Count
    stages: Count
    users: Annotated[int, Field(ge=0, description="in the open loop: requests in flight")]
    rate_per_second: Annotated[
        float | None, Field(description="in the open loop: the rate at which requests are due")
    ] = None
    requests: Annotated[int, Field(ge=0, description="without the warm-up")]
    failures: Count
    requests_per_second: Annotated[
        float, Field(ge=0, description="successful responses per second over the last 10 s")
    ]
    p50: Milliseconds | None = None
    p95: Annotated[float | None, Field(description="of the last 10 s, as p50")] = None
    elapsed_seconds: Annotated[float, Field(ge=0, description="since the load began")]
    workers: Count = 1
    workers_connected: Count = 1
    message: str | None = None


class Percentiles(Document):
    p50: Milliseconds | None
    p95: Milliseconds | None
    p99: Annotated[
        float | None, Field(ge=0, description="milliseconds; null with fewer than 299 successes")
    ]


class TimingFigures(Document):
    """The milliseconds of one part of a response, over the successful requests that have it."""

    mean: float
    p50: float
    p95: float


class Figures(Percentiles):
    """Figures of a number of requests; no figure but `discarded` counts discarded requests."""

    requests: Count
    failures: Count
    discarded: Annotated[
        int, Field(ge=0, description="requests of the warm-up, and of a probe's settling")
    ]
    failure_ratio: Ratio
    requests_per_second: Annotated[
        float, Field(ge=0, description="successful responses divided by seconds")
    ]
    mean: Milliseconds | None


class Summary(Figures):
    """The whole run; rates count responses from the start of the load to its end.

    The summary of a search is the last probe at the knee, or at the lowest level without a knee.
    """

    failures_by_kind: dict[str, Count]
    refused: Annotated[
        int, Field(ge=0, description="failures that are refusals by the target: HTTP 429 and 503")
    ] = 0
    peak_requests_per_second: Annotated[
        float, Field(ge=0, description="the best 10 s in a row, or the whole of a shorter run")
    ]
    failures_per_second: Rate
    seconds: Annotated[float, Field(ge=0, description="the divisor of the rates")]
    max: Milliseconds | None
    max_users: Annotated[
        int, Field(ge=0, description="in the open loop: the most requests in flight")
    ]
    max_users_within_slo: Annotated[
        int | None,
        Field(description="users of the largest stage within the slo, below all beyond it"),
    ] = None
    max_rate_within_slo: Annotated[
        float | None,
        Field(description="rate of the largest stage within the slo, below all beyond it"),
    ] = None
    timings: Annotated[
        dict[str, TimingFigures],
        Field(description="by Server-Timing; other is the rest of the latency"),
    ]


class StageFigures(Figures):
    """The requests that started in the stage after its ramp and settling.

    `requests_per_second` counts the successful responses that arrived in the same time, since a
    later response is later work of the target. Requests of the ramp and of the settling are
    discarded. In a search each probe is a stage, which begins once the probe has settled. A stage
    that never had its users has figures of all its time and no verdict.
    """

    users: Annotated[int, Field(ge=0, description="in the open loop: the most requests in flight")]
    users_reached: Annotated[
        int, Field(ge=0, description="the most users at once; fewer than users if the ramp is slow")
    ]
    rate_per_second: float | None = None
    start_seconds: Annotated[float, Field(ge=0, description="into the load")]
    duration_seconds: Annotated[float, Field(ge=0)]
    measured_from_seconds: Annotated[
        float, Field(ge=0, description="into the load: after the ramp and the settling")
    ]
    measured_seconds: Annotated[float, Field(ge=0, description="the divisor of the rates")]
    timings: Annotated[dict[str, float], Field(description="means, as in the summary")]
    within_slo: Annotated[bool | None, Field(description="null if unknown")] = None
    overload: Annotated[
        str | None,
        Field(description="the reason why the target did not sustain the rate; null if it did"),
    ] = None


class Interval(Document):
    """The 95% confidence interval of a percentile, in milliseconds; an end is null if unbounded.

    `draws` is the number of independent draws that the latencies are worth: responses of one batch
    are alike.
    """

    low: Milliseconds | None
    high: Milliseconds | None
    draws: Count


class WindowFigures(StageFigures):
    """The window that the verdicts judge: the last stage, or the knee's last probe.

    Without a knee, the window is the last probe of the lowest level.
    """

    stage: Annotated[int, Field(ge=1, description="number of the stage or the probe")]
    intervals: Annotated[
        dict[str, Interval], Field(description="by percentile: p50, p95, and p99 unless it is null")
    ] = Field(default_factory=dict)


class ReplicaFigures(Percentiles):
    """The requests of the window that one replica got.

    The replica `unknown` has those without a replica's name, and those without a response.
    """

    name: str
    requests: Count
    failures: Count
    share: Annotated[float, Field(ge=0, le=1, description="of the window's requests")]


class TimelinePoint(Document):
    """The responses of one interval, which starts `t` seconds into the load."""

    t: Annotated[float, Field(ge=0)]
    users: Annotated[int, Field(ge=0, description="the most users, or requests in flight")]
    requests_per_second: Rate
    failures_per_second: Rate
    p50: Milliseconds | None
    p95: Milliseconds | None
    replicas: Annotated[
        int | None,
        Field(description="the replicas that responded; null if the target names none"),
    ] = None


class Histogram(Document):
    """The latencies of the summary's successful requests.

    Each pair is a bucket's lower bound in milliseconds and its count. The width of a bucket is at
    most `max_relative_error` of its bound.
    """

    max_relative_error: float
    buckets: tuple[tuple[float, int], ...]


class TargetFacts(Document):
    """The target and its identity.

    `about` is its /about document before the load, null without one; `about_after` is the last
    one, from which follows the energy and time that the load used. `fingerprint` holds the facts on
    which figures depend; `fingerprint_id` is equal for equal facts.
    """

    url: str
    about: dict[str, JsonValue] | None
    about_after: dict[str, JsonValue] | None = None
    fingerprint: dict[str, str] = Field(default_factory=dict)
    fingerprint_id: str | None = None


class SearchPoint(Percentiles):
    """One level of the throughput-latency curve, by the last probe of the level."""

    level: Level
    requests: Count
    requests_per_second: Rate
    failure_ratio: Ratio
    within_slo: bool


class SearchResult(Document):
    """The result of a search; `knee` is the highest load within the slo, null without one.

    Over a rate, the knee is at most the rate that the target delivered at the highest level within.
    """

    over: Literal["users", "rate"]
    knee: Level | None
    confirmed: Annotated[bool, Field(description="whether a second probe was within, too")]
    step: Annotated[float, Field(ge=0, description="the distance to the lowest level beyond")]
    at_max: Annotated[bool, Field(description="whether the knee may be above max")]
    curve: tuple[SearchPoint, ...]


class Validity(Document):
    """The verdict on credibility; `also` holds further reasons against the figures."""

    status: bool
    reason: str
    message: str
    also: tuple[str, ...] = ()


class SloCheck(Document):
    """One limit of the slo; latencies are milliseconds."""

    name: str
    limit: float
    value: float | None
    met: bool


class SloVerdict(Document):
    """The verdict on the service level objectives, by the figures of the window.

    `reason` is WithinSLO, BeyondSLO, Overloaded, or the reason why the run has no verdict. `met` is
    false without a verdict, too.
    """

    met: bool
    reason: str
    checks: tuple[SloCheck, ...]
    message: str


class ClientFigures(Document):
    """The usage of the client's processes: of several, the busiest."""

    workers: Count
    cpu: Annotated[float, Field(ge=0, description="share of one core, on average")]
    lag: Annotated[float, Field(ge=0, description="average delay of a timer in milliseconds")]


class RunError(Document):
    """The error of a run that did not follow its plan: a word for programs, a sentence."""

    reason: str
    message: str


class Report(VersionedDocument):
    run: str
    start_time: str
    completion_time: str
    target: TargetFacts
    summary: Summary
    stages: tuple[StageFigures, ...]
    window: Annotated[WindowFigures | None, Field(description="null if no stage began")] = None
    replicas: Annotated[
        tuple[ReplicaFigures, ...],
        Field(description="the window's requests by replica; empty if the target names none"),
    ] = ()
    timeline: tuple[TimelinePoint, ...]
    histogram: Histogram
    search: SearchResult | None = None
    valid: Validity
    slo: SloVerdict | None = None
    client: ClientFigures
    error: RunError | None = None
