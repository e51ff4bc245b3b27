"""Progress and report of a run, as they are published.

Latencies are milliseconds, counted over successful requests only. The percentile q is the
nearest-rank one: the smallest latency that was really seen and that at least q per cent of the
successful requests did not exceed. `requests` counts all requests, successes and failures.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from .documents import Document, VersionedDocument

Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, description="per second")]
Milliseconds = Annotated[float, Field(ge=0, description="milliseconds; null without a success")]
State = Literal["Waiting", "Running", "Finished", "Failed"]


class Progress(VersionedDocument):
    """How far a run is; `stage` counts from 1 and is 0 before the load."""

    run: str
    state: State
    stage: Count
    stages: Count
    users: Count
    requests: Count
    failures: Count
    requests_per_second: Annotated[
        float, Field(ge=0, description="successful responses per second over the last 10 s")
    ]
    elapsed_seconds: Annotated[float, Field(ge=0, description="since the load began")]
    message: str | None = None


class Percentiles(Document):
    p50: Milliseconds | None
    p95: Milliseconds | None
    p99: Milliseconds | None


class Summary(Percentiles):
    """The whole run, from the start of the load to its end or the last success after it."""

    requests: Count
    failures: Count
    failures_by_kind: dict[str, Count]
    requests_per_second: Annotated[
        float, Field(ge=0, description="successful responses divided by the run's seconds")
    ]
    peak_requests_per_second: Annotated[
        float, Field(ge=0, description="the best 10 s in a row, or the whole of a shorter run")
    ]
    failures_per_second: Rate
    max_users: Count


class StageFigures(Percentiles):
    """The requests that were begun in the stage.

    `requests_per_second` counts the successful responses that arrived in it, since an answer that
    arrives later shows what the target did later; the last stage ends with the run.
    """

    users: Count
    duration_seconds: Annotated[float, Field(gt=0)]
    requests: Count
    failures: Count
    requests_per_second: Rate


class TimelinePoint(Document):
    """What arrived in one interval, which starts `t` seconds into the load."""

    t: Annotated[float, Field(ge=0)]
    users: Annotated[int, Field(ge=0, description="the most users in the interval")]
    requests_per_second: Rate
    failures_per_second: Rate
    p50: Milliseconds | None
    p95: Milliseconds | None


class TargetFound(Document):
    """The target; `about` is what its /about said before the load, null if it has none."""

    url: str
    about: dict[str, JsonValue] | None


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
    error: RunError | None = None
