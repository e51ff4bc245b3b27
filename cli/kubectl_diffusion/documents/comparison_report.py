"""The report of a Comparison, version 1, which the operator writes.

Fields that aren't declared here are ignored. Figures are decimal strings as in the status,
latencies of a run integer milliseconds.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from kubectl_diffusion.documents.load_report import Point, Read, Search, Slo, Stage


class Estimate(Read):
    """A geometric mean and its interval, which needs two repetitions at least."""

    mean: float
    low: float | None = None
    high: float | None = None


class Result(Read):
    """One variant's row."""

    variant: str
    rank: int | None = None
    reason: str = ""
    message: str = ""
    runs: int
    requests: int = 0
    failures: int = 0
    failure_ratio: float | None = None
    slo_met: bool | None = Field(None, alias="sloMet")
    slo_met_runs: int | None = Field(None, alias="sloMetRuns")
    below_least_runs: int | None = None
    requests_per_second: Estimate | None = None
    p50: Estimate | None = None
    p95: Estimate | None = None
    p99: Estimate | None = None
    max_load_within_slo: Estimate | None = Field(None, alias="maxLoadWithinSLO")
    efficiency: Estimate | None = None
    tax: dict[str, int] | None = None
    cold_start_seconds: Estimate | None = None
    memory_bytes: int | None = None
    device_memory_bytes: int | None = None
    gpu_utilisation: float | None = None
    joules_per_image: float | None = None
    unknown: dict[str, str] = Field(default_factory=dict)
    """The reasons for absent figures, by their names in the status."""
    cost_per_thousand_images: float | None = None
    images_per_dollar: float | None = None
    p_value: float | None = None


class ColdStart(Read):
    """Seconds since the creation of a service; model load and first images are durations."""

    scheduled: float | None = None
    started: float | None = None
    model_load: float | None = None
    first_images: float | None = None
    ready: float | None = None


class Run(Read):
    """One repetition of one variant."""

    variant: str
    repetition: int
    attempt: int = 1
    state: str
    reason: str = ""
    message: str = ""
    load_test: str = ""
    start_time: str | None = None
    completion_time: str | None = None
    valid: bool | None = None
    slo_met: bool | None = Field(None, alias="sloMet")
    requests: int | None = None
    failures: int | None = None
    requests_per_second: float | None = None
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None
    max_load_within_slo: float | None = Field(None, alias="maxLoadWithinSLO")
    cold_start: ColdStart | None = None
    nodes: tuple[str, ...] = ()
    fingerprint: dict[str, str] = Field(default_factory=dict)


def unknown_figures(results: Sequence[Result]) -> list[str]:
    """Sentences with the absent figures, their variants and the reasons."""
    variants: dict[tuple[str, str], list[str]] = {}
    for row in results:
        for figure, reason in row.unknown.items():
            variants.setdefault((figure, reason), []).append(row.variant)
    return [
        f"{figure} of {', '.join(names)} is unknown: {reason}"
        for (figure, reason), names in variants.items()
    ]


class Load(Read):
    """The timeline of one load test, thinned, and its search."""

    stages: tuple[Stage, ...] = ()
    timeline: tuple[Point, ...] = ()
    search: Search | None = None
    slo: Slo | None = None


class Method(Read):
    """The statistical method that separates the variants."""

    criterion: str
    alpha: float
    smallest_effect: float
    confidence: float
    test: str


class Design(Read):
    """The rounds of the study, and the lead that they can detect."""

    repetitions: int
    message: str = ""


class ComparisonReport(Read):
    """The whole study; `loads` has the names of LoadTests as keys."""

    version: Literal[1]
    name: str
    namespace: str
    spec: dict[str, Any]
    method: Method
    design: Design | None = None
    recommended: str = ""
    conclusion: str = ""
    differences: tuple[str, ...] = ()
    results: tuple[Result, ...]
    runs: tuple[Run, ...]
    loads: dict[str, Load] = Field(default_factory=dict)

    @property
    def repetitions(self) -> int:
        """The number of rounds, also in a report without a design."""
        earlier = self.spec.get("repetitions", 3)
        return self.design.repetitions if self.design is not None else int(earlier)
