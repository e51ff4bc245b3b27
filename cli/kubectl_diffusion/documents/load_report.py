"""The load report, version 1, which ``diffusion_loadtest`` writes.

A field with a default may be missing from the report of an older runner; fields that aren't
declared here are ignored. Latencies are milliseconds, rates per second, ratios 0 to 1.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Read(BaseModel):
    """A part of a document of another program."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class Figures(Read):
    requests: int
    failures: int
    requests_per_second: float
    p50: float | None
    p95: float | None
    p99: float | None
    discarded: int = 0
    mean: float | None = None

    @property
    def failure_ratio(self) -> float:
        return self.failures / self.requests if self.requests else 0.0


class Timing(Read):
    mean: float
    p50: float
    p95: float


class Summary(Figures):
    failures_by_kind: dict[str, int]
    peak_requests_per_second: float
    failures_per_second: float
    max_users: int
    max: float | None = None
    seconds: float | None = None
    max_users_within_slo: int | None = None
    max_rate_within_slo: float | None = None
    timings: dict[str, Timing] = Field(default_factory=dict)


class Stage(Figures):
    users: int
    duration_seconds: float
    rate_per_second: float | None = None
    start_seconds: float | None = None
    measured_seconds: float | None = None
    users_reached: int | None = None
    overload: str | None = None
    within_slo: bool | None = None


class Interval(Read):
    low: float | None = None
    high: float | None = None
    draws: int | None = None


class Window(Stage):
    stage: int
    intervals: dict[str, Interval] = Field(default_factory=dict)


class Replica(Read):
    name: str
    requests: int
    failures: int
    share: float
    p50: float | None
    p95: float | None


class Point(Read):
    t: float
    users: int
    requests_per_second: float
    failures_per_second: float
    p50: float | None
    p95: float | None
    replicas: int | None = None


class Target(Read):
    url: str
    fingerprint: dict[str, str] = Field(default_factory=dict)
    fingerprint_id: str | None = None


class Histogram(Read):
    max_relative_error: float = 0.001
    buckets: tuple[tuple[float, int], ...] = ()


class SearchPoint(Read):
    level: float
    requests: int
    requests_per_second: float
    p50: float | None
    p95: float | None
    p99: float | None
    failure_ratio: float
    within_slo: bool


class Search(Read):
    over: Literal["users", "rate"]
    knee: float | None
    confirmed: bool
    step: float
    at_max: bool
    curve: tuple[SearchPoint, ...]


class Validity(Read):
    status: bool
    reason: str
    message: str


class SloCheck(Read):
    name: str
    limit: float
    value: float | None
    met: bool


class Slo(Read):
    met: bool
    reason: str = ""
    checks: tuple[SloCheck, ...] = ()
    message: str


class RunError(Read):
    reason: str
    message: str


class Report(Read):
    """One run of a load test."""

    version: Literal[1]
    run: str
    start_time: str
    completion_time: str
    target: Target
    summary: Summary
    stages: tuple[Stage, ...]
    window: Window | None = None
    replicas: tuple[Replica, ...] = ()
    timeline: tuple[Point, ...]
    histogram: Histogram = Histogram()
    search: Search | None = None
    valid: Validity | None = None
    slo: Slo | None = None
    error: RunError | None = None
