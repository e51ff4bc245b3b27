"""Progress and report of a run, as they are published.

Latencies are milliseconds, counted over successful requests only. The percentile q is the
nearest-rank one: the smallest latency that was really seen and that at least q per cent of the
successful requests did not exceed. `requests` counts all requests, successes and failures.
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
    """How far a run is; `stage` counts from 1 and is 0 before the load. A search's stages are its
    probes, and `stages` is the most that there can be.
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
    p99: Milliseconds | None


class TimingFigures(Document):
    """Milliseconds that one part of an answer took, over the successful requests that say so."""

    mean: float
    p50: float
    p95: float


class Figures(Percentiles):
    """What came of some requests. `requests` leaves out the `discarded` ones, as all figures do."""

    requests: Count
    failures: Count
    discarded: Annotated[int, Field(ge=0, description="warm-up, and a probe's settling")]
    failure_ratio: Ratio
    requests_per_second: Annotated[
        float, Field(ge=0, description="successful responses divided by seconds")
    ]
    mean: Milliseconds | None


class Summary(Figures):
    """The whole run, from the start of the load to its end or the last success after it; in a
    search the last probe at the knee, or at the lowest level if there is no knee.
    """

    failures_by_kind: dict[str, Count]
    peak_requests_per_second: Annotated[
        float, Field(ge=0, description="the best 10 s in a row, or the whole of a shorter run")
    ]
    failures_per_second: Rate
    seconds: Annotated[float, Field(ge=0, description="what the rates are divided by")]
    max: Milliseconds | None
    max_users: Annotated[int, Field(ge=0, description="in the open loop: most in flight at once")]
    max_users_within_slo: Annotated[
        int | None, Field(description="users of the largest stage within the slo")
    ] = None
    max_rate_within_slo: Annotated[
        float | None, Field(description="rate of the largest stage within the slo")
    ] = None
    timings: Annotated[
        dict[str, TimingFigures],
        Field(description="by Server-Timing; other is the rest of the latency"),
    ]


class StageFigures(Figures):
    """The requests that were begun in the stage.

    `requests_per_second` counts the successful responses that arrived in it, since an answer that
    arrives later shows what the target did later; the last stage ends with the run. In a search
    each probe is a stage, which begins when it has settled.
    """

    users: Annotated[int, Field(ge=0, description="in the open loop: most in flight at once")]
    rate_per_second: float | None = None
    start_seconds: Annotated[float, Field(ge=0, description="into the load")]
    duration_seconds: Annotated[float, Field(ge=0)]
    timings: Annotated[dict[str, float], Field(description="means, as in the summary")]
    within_slo: bool | None = None


class TimelinePoint(Document):
    """What arrived in one interval, which starts `t` seconds into the load."""

    t: Annotated[float, Field(ge=0)]
    users: Annotated[int, Field(ge=0, description="the most users, or in flight, at once")]
    requests_per_second: Rate
    failures_per_second: Rate
    p50: Milliseconds | None
    p95: Milliseconds | None


class Histogram(Document):
    """The latencies of the summary's successful requests; each pair is a bucket's lower bound in
    milliseconds and its count. A bucket is at most `max_relative_error` of its bound wide.
    """

    max_relative_error: float
    buckets: tuple[tuple[float, int], ...]


class TargetFound(Document):
    """The target; `about` is what its /about said before the load, null if it has none;
    `about_after` is what it said last, from which follows what the load has used up.

    `fingerprint` is what figures depend on, in words; `fingerprint_id` tells two targets apart.
    """

    url: str
    about: dict[str, JsonValue] | None
    about_after: dict[str, JsonValue] | None = None
    fingerprint: dict[str, str] = Field(default_factory=dict)
    fingerprint_id: str | None = None


class SearchPoint(Percentiles):
    """One level of the throughput-latency curve; of a level probed twice, its last probe."""

    level: Level
    requests: Count
    requests_per_second: Rate
    failure_ratio: Ratio
    within_slo: bool


class SearchResult(Document):
    """`knee` is the highest level within the slo, null if not even the lowest was."""

    over: Literal["users", "rate"]
    knee: Level | None
    confirmed: Annotated[bool, Field(description="whether a second probe was within, too")]
    step: Annotated[float, Field(ge=0, description="up to the lowest level beyond")]
    at_max: Annotated[bool, Field(description="the knee may lie beyond what was searched")]
    curve: tuple[SearchPoint, ...]


class Validity(Document):
    """Whether the figures may be believed; `also` has the further reasons why not."""

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
    """Whether the figures are as good as they should be."""

    met: bool
    checks: tuple[SloCheck, ...]
    message: str


class ClientFigures(Document):
    """How busy the load's own processes were: of several, the busiest."""

    workers: Count
    cpu: Annotated[float, Field(ge=0, description="share of one core, on average")]
    lag: Annotated[float, Field(ge=0, description="milliseconds it came late, on average")]


class RunError(Document):
    """Why a run did not do what its plan says: a word for programs, a sentence for people."""

    reason: str
    message: str


class Report(VersionedDocument):
    run: str
    start_time: str
    completion_time: str
    target: TargetFound
    summary: Summary
    stages: tuple[StageFigures, ...]
    timeline: tuple[TimelinePoint, ...]
    histogram: Histogram
    search: SearchResult | None = None
    valid: Validity
    slo: SloVerdict | None = None
    client: ClientFigures
    error: RunError | None = None
