"""Comparison: the same load on variants of a service, in turns, and what can be concluded."""

from typing import Annotated

from pydantic import Field

from diffusion_operator.api.comparison_parts import (
    LoadTemplate,
    PrometheusQueries,
    ServiceTemplate,
    Variant,
)
from diffusion_operator.api.fields import Duration, Model, duration_rules, rule, rules
from diffusion_operator.api.loadtest import ReportRef
from diffusion_operator.api.state import RunState, State
from diffusion_operator.api.status import Condition

MAX_NAME = 30
"""Characters of a Comparison's name, to which its children add a variant and a repetition."""

MOST_VARIANTS = 12
MOST_REPETITIONS = 20
DEFAULT_REPETITIONS = 5

MOST_ATTEMPTS = 3
"""Limit of attempts at one repetition, which is repeated while its figures are not valid."""

MAX_TEXT = 4096
"""Characters of a sentence in the status."""

MOST_NODES = 64
"""Nodes of a run in the status."""


class ComparisonSpec(Model):
    """Desired comparison: variants, load and repetitions."""

    service: ServiceTemplate = Field(description="Spec that all variants share.")
    variants: tuple[Variant, ...] | None = Field(
        None,
        min_length=2,
        max_length=MOST_VARIANTS,
        description="Variants to compare. Default: each backend with the batching of its own "
        "documentation, and with the engine's.",
        json_schema_extra={
            **rules(
                rule(
                    "self.all(one, self.exists_one(other, other.name == one.name))",
                    "two variants have the same name: give each its own",
                )
            ),
        },
    )
    load_test: LoadTemplate = Field(description="The load on each variant.")
    repetitions: int | None = Field(
        None,
        ge=1,
        le=MOST_REPETITIONS,
        description="Rounds; in each, every variant runs once, in a balanced order. status.design "
        "has the lead that the rounds can detect; fewer than 5 detect a large one only. "
        "Default: 5.",
    )
    cooldown: Duration = Field(
        "30s",
        description="Pause between one variant's end and the next one's start. Default: 30s.",
        json_schema_extra=duration_rules(
            "duration(self) <= duration('1h')", "cooldown is at most 1h"
        ),
    )
    ready_timeout: Duration = Field(
        "20m",
        description="Time limit for a variant to become Ready; then it counts as failed. "
        "Default: 20m.",
        json_schema_extra=duration_rules(
            "duration(self) >= duration('10s') && duration(self) <= duration('24h')",
            "readyTimeout is between 10s and 24h",
        ),
    )
    prometheus: PrometheusQueries | None = Field(
        None,
        description="Queries for the operator's Prometheus (prometheusUrl of its "
        "chart; $namespace, $service and $window are filled in). "
        "Otherwise the pods report what they can.",
    )
    suspend: bool = Field(
        False,
        description="Stops the current run and begins none; finished repetitions are kept, and one "
        "that was stopped runs again afterwards.",
    )


class ColdStart(Model):
    """Seconds from the creation of a variant's service, of the pod that took longest."""

    scheduled: int | None = Field(None, ge=0, description="Until its pods had a node.")
    started: int | None = Field(
        None, ge=0, description="Until images were pulled and containers ran."
    )
    ready: int | None = Field(
        None, ge=0, description="Until the model was loaded and its first images were out."
    )
    model_load: str | None = Field(
        None, max_length=32, description="Part of it: seconds to load the model."
    )
    first_images: str | None = Field(
        None, max_length=32, description="Part of it: seconds for the warm-up images."
    )


class Run(Model):
    """One repetition of one variant."""

    variant: str = Field(max_length=63, description="The variant.")
    repetition: int = Field(ge=1, description="Number of the repetition, from 1.")
    attempt: int = Field(
        1,
        ge=1,
        description="Number of the attempt: a repetition whose figures are not valid is repeated.",
    )
    state: State = Field(description="Starting, Testing, Complete or Failed.")
    reason: str = Field("", max_length=1024, description="Why it failed, in one word.")
    message: str = Field("", max_length=MAX_TEXT, description="Why it failed, in a sentence.")
    load_test: str = Field("", max_length=253, description="Its LoadTest.")
    start_time: str | None = Field(
        None,
        json_schema_extra={"format": "date-time"},
        description="Time at which its service was created.",
    )
    completion_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="Time at which it ended."
    )
    valid: bool | None = Field(None, description="Verdict on the validity of its figures.")
    slo_met: bool | None = Field(None, alias="sloMet", description="Verdict on the objective.")
    measured_seconds: str | None = Field(
        None,
        max_length=32,
        description="Length of the window of the figures: the last stage after its ramp and "
        "settling; absent where the load test's report has none.",
    )
    requests: int | None = Field(None, ge=0, description="Requests answered or failed.")
    failures: int | None = Field(None, ge=0, description="Failed requests.")
    requests_per_second: str | None = Field(
        None, max_length=32, description="Successful requests per second."
    )
    p50: int | None = Field(None, ge=0, description="Median latency in milliseconds.")
    p95: int | None = Field(None, ge=0, description="95th percentile latency in milliseconds.")
    p99: int | None = Field(None, ge=0, description="99th percentile latency in milliseconds.")
    max_load_within_slo: str | None = Field(
        None,
        alias="maxLoadWithinSLO",
        max_length=32,
        description="Highest load (users, or requests per second) that kept the SLO.",
    )
    load_beyond_slo: str | None = Field(
        None,
        alias="loadBeyondSLO",
        max_length=32,
        description="Lowest load of a search that did not keep it; absent where its max did.",
    )
    efficiency: str | None = Field(
        None, max_length=32, description="Images per second over the bare pipeline's best."
    )
    tax: dict[str, int] | None = Field(
        None, max_length=16, description="Mean milliseconds of a request by stage."
    )
    cold_start: ColdStart | None = Field(None, description="Start-up time of its service.")
    memory_bytes: int | None = Field(None, ge=0, description="Peak memory of a pod's processes.")
    device_memory_bytes: int | None = Field(None, ge=0, description="Peak memory of a pod's GPU.")
    gpu_utilisation: str | None = Field(
        None, max_length=32, description="Share of the time that the GPU was busy."
    )
    joules_per_image: str | None = Field(
        None, max_length=32, description="GPU energy per image; absent where it is unknown."
    )
    unknown: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(
        None, max_length=8, description="Why a figure is absent, by the figure's field."
    )
    nodes: tuple[Annotated[str, Field(max_length=253)], ...] | None = Field(
        None, max_length=MOST_NODES, description="The nodes that its pods ran on."
    )
    fingerprint: dict[str, str] | None = Field(
        None, max_length=80, description="Facts about the target that affect its speed."
    )

    @property
    def is_below_least(self) -> bool:
        """Whether a search ended below its least load, which missed the SLO."""
        return self.max_load_within_slo is None and self.load_beyond_slo is not None

    @property
    def is_worth_repeating(self) -> bool:
        """Whether the run has invalid figures, for a reason that may have passed.

        A stage that is too short for its percentiles stays too short.
        """
        if self.valid is not False:
            return False
        if self.state is RunState.FAILED:
            return self.reason == "Interrupted"
        return self.state is RunState.COMPLETE and self.reason != "TooFewSamples"


class Estimate(Model):
    """A figure over the repetitions: the geometric mean and its 95% interval."""

    mean: str = Field(max_length=32, description="Geometric mean.")
    low: str | None = Field(None, max_length=32, description="Lower end; absent for one run.")
    high: str | None = Field(None, max_length=32, description="Upper end; absent for one run.")


class Result(Model):
    """Result of one variant."""

    variant: str = Field(max_length=63, description="The variant.")
    rank: int | None = Field(None, ge=1, description="1 is the best; absent where not ranked.")
    reason: str = Field("", max_length=1024, description="Why it is not ranked, in one word.")
    message: str = Field(
        "", max_length=MAX_TEXT, description="Why it is not ranked, in a sentence."
    )
    runs: int = Field(ge=0, description="Repetitions whose figures are in these.")
    requests: int = Field(0, ge=0, description="Requests of all repetitions.")
    failures: int = Field(0, ge=0, description="Failed requests.")
    failure_ratio: str | None = Field(
        None,
        max_length=32,
        description="Share of requests that failed, over the repetitions; a variant above "
        "spec.loadTest.slo.maxFailureRatio (default 0.01) is not recommended.",
    )
    slo_met: bool | None = Field(
        None, alias="sloMet", description="Verdict on the SLO: met in most repetitions, or not."
    )
    slo_met_runs: int | None = Field(
        None,
        alias="sloMetRuns",
        ge=0,
        description="Repetitions within the SLO and the limit of failures.",
    )
    below_least_runs: int | None = Field(
        None,
        ge=0,
        description="Repetitions in which the least load of the search missed the SLO.",
    )
    requests_per_second: Estimate | None = Field(None, description="Successful ones.")
    p50: Estimate | None = Field(None, description="Median latency, milliseconds.")
    p95: Estimate | None = Field(None, description="95th percentile, milliseconds.")
    p99: Estimate | None = Field(None, description="99th percentile, milliseconds.")
    max_load_within_slo: Estimate | None = Field(
        None, alias="maxLoadWithinSLO", description="Highest load that kept the SLO."
    )
    efficiency: Estimate | None = Field(
        None, description="Images per second over the bare pipeline's best, on the same pod."
    )
    tax: dict[str, int] | None = Field(
        None, max_length=16, description="Mean milliseconds of a request by stage."
    )
    cold_start_seconds: Estimate | None = Field(
        None, description="From nothing to the first images."
    )
    memory_bytes: int | None = Field(None, ge=0, description="Peak memory of a pod's processes.")
    device_memory_bytes: int | None = Field(None, ge=0, description="Peak memory of a pod's GPU.")
    gpu_utilisation: str | None = Field(
        None, max_length=32, description="Share of the time that the GPU was busy; or absent."
    )
    joules_per_image: str | None = Field(
        None, max_length=32, description="GPU energy per image; absent where it is unknown."
    )
    unknown: dict[str, Annotated[str, Field(max_length=1024)]] | None = Field(
        None, max_length=8, description="Why a figure is absent, by the figure's field."
    )
    cost_per_thousand_images: str | None = Field(
        None, max_length=32, description="At the catalogue's price; absent where that has none."
    )
    images_per_dollar: str | None = Field(
        None, max_length=32, description="At the catalogue's price; absent where that has none."
    )
    p_value: str | None = Field(
        None,
        max_length=32,
        description="P value of the test that it equals the best, of this pair by itself; "
        "present once the comparison has ended.",
    )


class Detectable(Model):
    """A lead that the design finds in four of five studies."""

    scatter: str = Field(
        max_length=32, description="Standard deviation between equal runs, as a share."
    )
    lead: str | None = Field(
        None,
        max_length=32,
        description="Lead over all others, as a share; absent where the rounds detect none.",
    )


class Design(Model):
    """Design of the study, known before it begins."""

    repetitions: int = Field(ge=1, description="Rounds.")
    variants: int = Field(ge=1, description="Number of variants.")
    looks: tuple[int, ...] | None = Field(
        None,
        max_length=MOST_REPETITIONS,
        description="Numbers of rounds with which the study has had a conclusion. Each further "
        "one has a quarter of the alpha: rounds that are added until there is a verdict give one "
        "by chance.",
    )
    detectable: tuple[Detectable, ...] = Field(
        (), max_length=8, description="The smallest detectable lead, by the scatter of the runs."
    )
    message: str = Field("", max_length=MAX_TEXT, description="The design in a sentence.")


class ComparisonStatus(Model):
    """Observed state of the comparison."""

    observed_generation: int = Field(
        0, ge=0, description="The metadata.generation that this status was computed from."
    )
    conditions: tuple[Condition, ...] = Field(
        (), max_length=16, description="Complete, Failed, Comparable."
    )
    state: State = Field(
        RunState.UNKNOWN, description="Waiting, Running, Cooling, Suspended, Complete or Failed."
    )
    run: str = Field("", max_length=16, description="Identifies what is compared.")
    run_at: str = Field(
        "", max_length=253, description="The annotation diffusion.dev/run-at that it is of."
    )
    variant: str = Field("", max_length=63, description="The variant on the hardware now.")
    progress: str = Field("", max_length=32, description="Runs that have ended, of all.")
    design: Design | None = Field(
        None,
        description="Design of the study with the lead that it can detect, before the first run.",
    )
    start_time: str | None = Field(
        None,
        json_schema_extra={"format": "date-time"},
        description="Time at which the first run began.",
    )
    completion_time: str | None = Field(
        None,
        json_schema_extra={"format": "date-time"},
        description="Time at which the last run ended.",
    )
    recommended: str = Field(
        "", max_length=63, description="The variant to run, if the figures tell."
    )
    conclusion: str = Field(
        "", max_length=MAX_TEXT, description="Conclusion from the figures, with its method."
    )
    differences: tuple[Annotated[str, Field(max_length=MAX_TEXT)], ...] | None = Field(
        None, max_length=80, description="Unintended differences between variants."
    )
    results: tuple[Result, ...] | None = Field(
        None, max_length=MOST_VARIANTS, description="The variants, the best first."
    )
    runs: tuple[Run, ...] | None = Field(
        None,
        max_length=MOST_VARIANTS * MOST_REPETITIONS * MOST_ATTEMPTS,
        description="Each repetition of each variant, in the order run.",
    )
    report_ref: ReportRef | None = Field(None, description="The whole report.")


class ComparisonObject(Model):
    """A comparison: each variant is served and load-tested alone, in turns, and ranked."""

    spec: ComparisonSpec = Field(description="Desired comparison: variants, load and repetitions.")
    status: ComparisonStatus | None = Field(None, description="Observed state of the comparison.")
