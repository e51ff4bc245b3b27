"""Comparison: the same load on variants of a service, in turns, and what can be concluded."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from diffusion_operator.api.diffusionservice import Backend, DiffusionServiceSpec
from diffusion_operator.api.fields import Duration, Model, duration_rules, rule, rules
from diffusion_operator.api.load import LOAD_RULES, LoadSpec
from diffusion_operator.api.loadtest import ReportRef
from diffusion_operator.api.state import RunState, State
from diffusion_operator.api.status import Condition

MAX_NAME = 30
"""Characters of a Comparison's name, to which its children add a variant and a repetition."""

RAY_WAIT_MILLISECONDS = 10
"""Default wait of `@serve.batch`, which makes batches of one without it."""

MAX_TEXT = 4096
"""Characters of a sentence in the status."""

MOST_NODES = 64
"""Nodes of a run in the status."""

Overrides = Annotated[
    dict[str, Any],
    Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]


class ServiceTemplate(DiffusionServiceSpec):
    """A DiffusionService's spec whose backend the variants may choose."""

    backend: Backend | None = Field(  # type: ignore[assignment] # a template leaves it open
        None, description="The framework that serves the model; the variants say so as a rule."
    )
    replicas: int = Field(
        1,
        ge=0,
        le=1000,
        description="Number of pods, each with a copy of the model. Default: 1.",
        json_schema_extra={"format": "int32"},
    )

    # Rules across fields hold for a variant's whole spec, which is checked when it is made.
    model_config = ConfigDict(json_schema_extra={})


class LoadTemplate(LoadSpec):
    """A LoadTest's spec without its target."""

    model_config = ConfigDict(json_schema_extra=rules(*LOAD_RULES))


class Variant(Model):
    """One way to serve, compared with the others."""

    name: str = Field(
        min_length=1,
        max_length=18,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="Its name in the result.",
    )
    service: Overrides = Field(
        default_factory=dict,
        description="Differences from spec.service, as a JSON merge patch: any field of a "
        "DiffusionService's spec (kubectl explain diffusionservice.spec); null takes one away.",
    )
    load_test: Overrides = Field(
        default_factory=dict,
        description="Differences from spec.loadTest, as a JSON merge patch. Variants under "
        "unlike loads are shown side by side and not ranked.",
    )


def default_variants() -> tuple[Variant, ...]:
    """Each framework as its own documentation has it, and in front of this project's engine."""
    none, engine, framework = {"mode": "none"}, {"mode": "engine"}, {"mode": "framework"}
    of_ray = {**framework, "maxWaitMilliseconds": RAY_WAIT_MILLISECONDS}
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        ("fastapi", none),
        ("fastapi", engine),
        ("litserve", framework),
        ("litserve", engine),
        ("rayserve", of_ray),
        ("rayserve", engine),
    )
    return tuple(
        Variant(
            name=f"{backend}-{batching['mode']}",
            service={"backend": backend, "batching": batching},
        )
        for backend, batching in ways
    )


Query = Annotated[str, Field(min_length=1, max_length=2000)]


class PrometheusQueries(Model):
    """Figures that a Prometheus has, each by an instant query that gives one number.

    Of each run `$namespace`, `$service` (its pods' names begin with it) and `$window` (the seconds
    of its load, such as 95s) are put in; the query is evaluated at the load's end.
    """

    energy_joules: Query | None = Field(
        None,
        description="Joules that the service's GPUs took, such as "
        "sum(increase(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
        '{exported_namespace="$namespace", exported_pod=~"$service-.*"}[$window])) / 1000.',
    )
    gpu_utilisation: Query | None = Field(
        None,
        description="Share of the time that its GPUs were busy, from 0 to 1, such as "
        "avg(avg_over_time(DCGM_FI_DEV_GPU_UTIL"
        '{exported_namespace="$namespace", exported_pod=~"$service-.*"}[$window])) / 100.',
    )


class ComparisonSpec(Model):
    """Desired comparison: variants, load and repetitions."""

    service: ServiceTemplate = Field(description="Spec that all variants share.")
    variants: tuple[Variant, ...] | None = Field(
        None,
        min_length=2,
        max_length=12,
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
    repetitions: int = Field(
        3,
        ge=1,
        le=20,
        description="Rounds; in each, every variant runs once. Below 3 little can be concluded. "
        "Default: 3.",
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
    slo_met: bool | None = Field(
        None, alias="sloMet", description="Verdict on the SLO that all repetitions share."
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
        description="P value of the test that it equals the best; Holm-corrected.",
    )


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
    variant: str = Field("", max_length=63, description="The variant on the hardware now.")
    progress: str = Field("", max_length=32, description="Runs that have ended, of all.")
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
        None, max_length=12, description="The variants, the best first."
    )
    runs: tuple[Run, ...] | None = Field(
        None, max_length=240, description="Each repetition of each variant, in the order run."
    )
    report_ref: ReportRef | None = Field(None, description="The whole report.")


class ComparisonObject(Model):
    """A comparison: each variant is served and load-tested alone, in turns, and ranked."""

    spec: ComparisonSpec = Field(description="Desired comparison: variants, load and repetitions.")
    status: ComparisonStatus | None = Field(None, description="Observed state of the comparison.")
