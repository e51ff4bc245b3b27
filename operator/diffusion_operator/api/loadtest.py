"""LoadTest: load on a service, and the figures that come of it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from diffusion_operator.api.fields import (
    Model,
    ObjectName,
    rule,
    rules,
)
from diffusion_operator.api.load import LOAD_RULES, LoadSpec
from diffusion_operator.api.state import RunState, State
from diffusion_operator.api.status import Condition


class TargetRef(Model):
    """A DiffusionService of the same namespace."""

    name: ObjectName = Field(description="Name of the DiffusionService.")


class BaselineRef(Model):
    """A run of another LoadTest of the same namespace, with the same load and target."""

    name: ObjectName = Field(description="Name of the LoadTest.")
    run: str | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="Its status.run. Default: the run that its report is of.",
    )


class LoadTestSpec(LoadSpec):
    """Desired load test: load and target."""

    target_ref: TargetRef | None = Field(
        None, description="The DiffusionService to test; the run begins once it is Ready."
    )
    url: str | None = Field(
        None,
        max_length=2048,
        description="Any server with the same POST /predict instead, such as http://host:8000.",
        json_schema_extra=rules(
            rule(
                "self.matches('^https?://[^/ ?#]+(/[^ ?#]*)?$')",
                "url begins with http:// or https:// and has no query, such as http://host:8000",
            )
        ),
    )
    baseline_ref: BaselineRef | None = Field(
        None,
        description="An earlier run to compare with; the condition Regressed has the verdict.",
    )
    suspend: bool = Field(
        False,
        description="Stops a run and begins none; a run that was stopped begins anew after.",
    )
    rerun: Literal["Never", "OnSpecChange", "OnTargetChange"] = Field(
        "OnSpecChange",
        description="Cause of another run: OnSpecChange, when its load or target is "
        "changed here; OnTargetChange, also when the service has a new revision; Never. The "
        "annotation diffusion.dev/run-at with a new value always runs it again. Default: "
        "OnSpecChange.",
    )
    history_limit: int = Field(
        5, ge=0, le=50, description="Earlier runs kept in the status. Default: 5."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.targetRef) != has(self.url)",
                "set exactly one of targetRef (a DiffusionService) and url (any server)",
            ),
            rule(
                "!(has(self.baselineRef) && has(self.search))",
                "a baseline compares latencies at one load, which a search has not: set users or "
                "arrivals instead of search, or leave baselineRef out",
            ),
            *LOAD_RULES,
        )
    )


class Fingerprint(Model):
    """Facts about the target that affect its speed: figures of equal digests can be compared."""

    digest: str = Field(max_length=16, description="Digest of all below but the revision.")
    image: str = Field("", max_length=512, description="The serving image, by its digest.")
    replicas: int | None = Field(None, ge=0, description="Replicas at the begin of the run.")
    facts: dict[str, Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict,
        max_length=64,
        description="Facts that the target reports: device, precision, steps, size, versions, …",
    )


class Target(Model):
    """Tested target, as it was when the run began."""

    name: str = Field("", max_length=253, description="The DiffusionService, or the URL's host.")
    url: str = Field("", max_length=2048, description="URL of the requests.")
    backend: str = Field("", max_length=63, description="The framework that served.")
    revision: str = Field("", max_length=255, description="The service's revision.")
    fingerprint: Fingerprint | None = Field(None, description="Facts about the target.")


class Progress(Model):
    """Progress of the run; absent once it has ended."""

    stage: int = Field(ge=0, description="Number of the running stage or probe, from 1.")
    stages: int = Field(ge=0, description="Number of stages, or the most probes there can be.")
    users: int = Field(ge=0, description="Users at this moment.")
    requests: int = Field(ge=0, description="Requests answered or failed so far.")
    failures: int = Field(ge=0, description="Failed requests.")
    elapsed_seconds: int = Field(0, ge=0, description="Seconds since the load began.")


class Shown(Model):
    """Values of the columns: the last seconds while a test runs, the window afterwards."""

    users: int = Field(ge=0, description="Users now, or those of the window.")
    requests_per_second: str = Field(max_length=32, description="Successful requests per second.")
    p50: int | None = Field(None, ge=0, description="Median latency in milliseconds.")
    p95: int | None = Field(None, ge=0, description="95th percentile latency in milliseconds.")
    failures: int = Field(ge=0, description="Requests that failed in the whole run.")


class Figures(Model):
    """Requests, rates and latencies; latencies count successful requests only."""

    requests: int = Field(ge=0, description="Requests answered or failed.")
    failures: int = Field(ge=0, description="Requests that failed, or whose image was not whole.")
    requests_per_second: str = Field(
        max_length=32, description="Successful requests per second, a decimal string."
    )
    p50: int | None = Field(None, ge=0, description="Median latency in milliseconds.")
    p95: int | None = Field(None, ge=0, description="95th percentile latency in milliseconds.")
    p99: int | None = Field(
        None,
        ge=0,
        description="99th percentile latency in milliseconds; absent with fewer than 299 "
        "successful requests.",
    )


class StageFigures(Figures):
    """The figures of one stage, after its ramp and settling."""

    users: int | None = Field(None, ge=0, description="Users of the stage.")
    users_reached: int | None = Field(
        None, ge=0, description="The most users at once; fewer than users if the ramp was too slow."
    )
    rate_per_second: str | None = Field(
        None, max_length=32, description="Requests begun per second, where the load is a rate."
    )
    duration: str = Field(max_length=32, description="Length of the stage.")
    within_slo: bool | None = Field(
        None,
        alias="withinSLO",
        description="Verdict on spec.slo for these figures; absent if the stage never had its "
        "users, or had too few requests.",
    )
    overload: str | None = Field(
        None,
        max_length=512,
        description="Reason why the target did not sustain the rate, so that its latencies depend "
        "on the length of the load; absent if it did.",
    )


class WindowFigures(StageFigures):
    """The figures that the verdicts judge."""

    stage: int = Field(ge=1, description="Number of the stage, or of the probe of a search.")


class Summary(Figures):
    """The figures of the whole run."""

    discarded: int = Field(
        0, ge=0, description="Warm-up requests, which are in none of the figures."
    )
    peak_requests_per_second: str = Field(
        max_length=32, description="Peak of successful requests per second over ten seconds."
    )
    failures_per_second: str = Field(
        max_length=32, description="Failures per second, a decimal string."
    )
    max_users: int = Field(ge=0, description="Peak number of users.")
    failures_by_kind: dict[str, int] | None = Field(
        None, max_length=64, description="Number of failed requests by kind."
    )


class ReportRef(Model):
    """The whole report."""

    name: str = Field(max_length=253, description="ConfigMap of the same namespace.")
    key: str = Field(max_length=253, description="Its key, a JSON document.")


class EarlierRun(Model):
    """Outcome of an earlier run."""

    run: str = Field(max_length=16, description="Identifies the run.")
    state: State = Field(description="Complete or Failed.")
    reason: str = Field("", max_length=1024, description="Why it ended so, in one word.")
    valid: str = Field("", max_length=16, description="Status of its Valid condition.")
    slo_met: str = Field(
        "", alias="sloMet", max_length=16, description="Status of its SLOMet condition."
    )
    completion_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="Time at which its load ended."
    )
    backend: str = Field("", max_length=63, description="The framework that served.")
    revision: str = Field("", max_length=255, description="The service's revision.")
    fingerprint: str = Field("", max_length=16, description="The target's fingerprint.")
    window: WindowFigures | None = Field(
        None, description="The figures that its Valid and SLOMet judge."
    )
    summary: Summary | None = Field(
        None, description="The figures of the whole run, where its report has no window."
    )
    max_users_within_slo: int | None = Field(
        None, alias="maxUsersWithinSLO", ge=0, description="Result of its search."
    )
    max_rate_within_slo: str | None = Field(
        None, alias="maxRateWithinSLO", max_length=32, description="Result of its search."
    )


class LoadTestStatus(Model):
    """Observed state of the load test."""

    observed_generation: int = Field(
        0, ge=0, description="The metadata.generation that this status was computed from."
    )
    conditions: tuple[Condition, ...] = Field(
        (),
        max_length=16,
        description="Complete, Failed, Valid, SLOMet, Regressed, ReportAvailable.",
    )
    state: State = Field(
        RunState.UNKNOWN,
        description="Waiting, Queued, Suspended, Starting, Running, Complete or Failed.",
    )
    run: str = Field("", max_length=16, description="Identifies the run.")
    spec_digest: str = Field("", max_length=16, description="Digest of the load that it is of.")
    run_at: str = Field(
        "", max_length=253, description="The annotation diffusion.dev/run-at that it is of."
    )
    start_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="Time at which the load began."
    )
    completion_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="Time at which the load ended."
    )
    target: Target | None = Field(None, description="Tested target.")
    progress: Progress | None = Field(None, description="Progress of the run.")
    shown: Shown | None = Field(None, description="Values of the columns.")
    summary: Summary | None = Field(None, description="The figures of the whole run.")
    stages: tuple[StageFigures, ...] | None = Field(
        None, max_length=64, description="The figures of each stage, or probe of a search."
    )
    window: WindowFigures | None = Field(
        None,
        description="The figures that Valid and SLOMet judge: the last stage after its ramp and "
        "settling, or the last probe at a search's knee.",
    )
    max_users_within_slo: int | None = Field(
        None,
        alias="maxUsersWithinSLO",
        ge=0,
        description="Highest number of users that kept spec.slo, below all that did not.",
    )
    max_rate_within_slo: str | None = Field(
        None, alias="maxRateWithinSLO", max_length=32, description="Highest rate that kept it."
    )
    report_ref: ReportRef | None = Field(None, description="The whole report.")
    history: tuple[EarlierRun, ...] | None = Field(
        None, max_length=50, description="Earlier runs, the latest first."
    )


class LoadTestObject(Model):
    """A load test: Locust runs as a Job, and its figures stand in the status."""

    spec: LoadTestSpec = Field(description="Desired load test: load and target.")
    status: LoadTestStatus | None = Field(None, description="Observed state of the load test.")
