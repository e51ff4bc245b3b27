"""Load report, version 1: ``diffusion_loadtest.report`` writes it, the operator reads it.

Only the fields that the operator shows are declared here. Fields with a default may be absent,
since the runner's image may be older than the operator.
"""

import logging
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from diffusion_operator.api.fields import Model

logger = logging.getLogger(__name__)

REPORT_KEY = "report.json"
PROGRESS_KEY = "progress.json"


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
    requests_per_second: float
    elapsed_seconds: float
    message: str | None = None
    phase: str | None = None
    p50: float | None = None
    p95: float | None = None


class ReportedTarget(_Read):
    url: str
    about: dict[str, Any] | None = None
    fingerprint: dict[str, str] = Field(default_factory=dict)


class ReportedFigures(_Read):
    requests: int
    failures: int
    requests_per_second: float
    p50: float | None
    p95: float | None
    p99: float | None


class ReportedSummary(ReportedFigures):
    failures_by_kind: dict[str, int]
    refused: int = 0
    peak_requests_per_second: float
    failures_per_second: float
    max_users: int
    discarded: int = 0
    max_users_within_slo: int | None = None
    max_rate_within_slo: float | None = None


class ReportedStage(ReportedFigures):
    users: int
    duration_seconds: float
    rate_per_second: float | None = None
    within_slo: bool | None = None
    users_reached: int | None = None
    measured_seconds: float | None = None
    overload: str | None = None


class ReportedInterval(_Read):
    low: float | None = None
    high: float | None = None


class ReportedWindow(ReportedStage):
    stage: int
    intervals: dict[str, ReportedInterval] = Field(default_factory=dict)


class ReportedReplica(_Read):
    name: str


class ReportedValidity(_Read):
    status: bool
    reason: str
    message: str


class ReportedSlo(_Read):
    met: bool
    message: str
    reason: str = ""


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
    window: ReportedWindow | None = None
    replicas: tuple[ReportedReplica, ...] = ()
    valid: ReportedValidity | None = None
    slo: ReportedSlo | None = None
    error: ReportedError | None = None


M = TypeVar("M", LoadProgress, LoadReport)


def document(model: type[M], config_map: Mapping[str, Any], key: str) -> M | None:
    """Document in the runner's ConfigMap, if it is of a known version."""
    text = (config_map.get("data") or {}).get(key)
    if text is None:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError:
        # The traceback could contain prompts.
        logger.error("%s is a document of an unknown version", key)  # noqa: TRY400
        return None
