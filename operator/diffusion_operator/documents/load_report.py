"""What the load runner reports, version 1; its writer is ``diffusion_loadtest.report``.

Only what the operator shows is declared here: a report may say more.
"""

from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from diffusion_operator.api.fields import Model


class _Read(Model):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )


class LoadProgress(_Read):
    version: Literal[1]
    run: str
    state: Literal["Waiting", "Running", "Finished", "Failed"]
    stage: int
    stages: int
    users: int
    requests: int
    failures: int


class ReportedTarget(_Read):
    url: str
    about: dict[str, Any] | None = None


class ReportedFigures(_Read):
    requests: int
    failures: int
    requests_per_second: float
    p50: float | None
    p95: float | None
    p99: float | None


class ReportedSummary(ReportedFigures):
    failures_by_kind: dict[str, int]
    peak_requests_per_second: float
    failures_per_second: float
    max_users: int


class ReportedStage(ReportedFigures):
    users: int
    duration_seconds: float


class ReportedError(_Read):
    reason: str
    message: str


class LoadReport(_Read):
    version: Literal[1]
    run: str
    start_time: str
    completion_time: str
    target: ReportedTarget
    summary: ReportedSummary
    stages: tuple[ReportedStage, ...]
    error: ReportedError | None = None
