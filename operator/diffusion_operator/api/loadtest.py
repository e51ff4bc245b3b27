"""LoadTest: load on a service, and the figures that come of it."""

from typing import Annotated

from pydantic import ConfigDict, Field

from diffusion_operator.api.diffusionservice import GuidanceScale, Side
from diffusion_operator.api.fields import (
    Decimal,
    Duration,
    Model,
    ObjectName,
    decimal_rules,
    duration_rules,
    rule,
    rules,
)
from diffusion_operator.api.status import Condition

Prompt = Annotated[str, Field(min_length=1, max_length=1000)]


class TargetRef(Model):
    """A DiffusionService of the same namespace."""

    name: ObjectName = Field(description="Name of the DiffusionService.")


class Stage(Model):
    """A part of the run with one number of users."""

    users: int = Field(ge=1, le=10000, description="Users at the same time.")
    duration: Duration = Field(
        description="How long, such as 60s; the ramp to the stage's users is part of it.",
        json_schema_extra=duration_rules(
            "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
            "a stage lasts between 1s and 24h",
        ),
    )


class Users(Model):
    """Closed loop: each user sends a request, waits for the answer, thinks, and begins again."""

    stages: tuple[Stage, ...] = Field(
        max_length=50,
        description="The parts of the run, in order.",
        json_schema_extra=rules(
            rule(
                "size(self) > 0",
                "write at least one stage, for example [{users: 10, duration: 60s}]",
            )
        ),
    )
    spawn_rate: Decimal = Field(
        "1",
        description='Users started (or stopped) per second between stages. Default: "1".',
        json_schema_extra=decimal_rules(
            "double(self) > 0.0", 'spawnRate must be above 0: write for example "1"'
        ),
    )


class Think(Model):
    """Pause of a user between an answer and its next request, uniform between the two."""

    min: Duration = Field("0s", description="Shortest pause. Default: 0s.")
    max: Duration = Field("0s", description="Longest pause. Default: 0s, or min.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.min) || !has(self.max) || !self.min.matches(r'^[0-9.msh]+$')"
                " || !self.max.matches(r'^[0-9.msh]+$')"
                " || duration(self.min) <= duration(self.max)",
                "think.min is longer than think.max: swap them",
            )
        )
    )


class ConfigMapKey(Model):
    """One key of a ConfigMap of the same namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: str = Field(
        "prompts.txt",
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        description="Its key: one prompt a line. Default: prompts.txt.",
    )


class Prompts(Model):
    """Where the prompts come from; each request takes a random one."""

    inline: tuple[Prompt, ...] | None = Field(
        None, min_length=1, max_length=200, description="The prompts themselves."
    )
    config_map_ref: ConfigMapKey | None = Field(
        None, description="A ConfigMap of the same namespace with one prompt a line."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.inline) != has(self.configMapRef)",
                "give the prompts either inline or by configMapRef",
            ),
        )
    )


class Request(Model):
    """What each request asks for; what is left out is the target's own default."""

    steps: int | None = Field(None, ge=1, le=500, description="Denoising steps.")
    guidance_scale: GuidanceScale | None = Field(
        None, description="Classifier-free guidance as a decimal string."
    )
    width: Side | None = Field(None, description="Pixels, a multiple of 8.")
    height: Side | None = Field(None, description="Pixels, a multiple of 8.")
    timeout_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="A request without an answer after this long counts as failed. Default: 60.",
    )
    prompts: Prompts | None = Field(
        None, description="Where the prompts come from. Default: a built-in list of over 200."
    )


class LoadTestSpec(Model):
    """What load goes where."""

    target_ref: TargetRef | None = Field(
        None, description="The DiffusionService to test; the run begins once it is Ready."
    )
    url: str | None = Field(
        None,
        max_length=2048,
        pattern=r"^https?://[^/ ?#]+(/[^ ?#]*)?$",
        description="Or any server with the same POST /predict, such as http://host:8000.",
    )
    users: Users | None = Field(None, description="Users in stages.")
    think: Think = Field(Think(), description="Pause of a user before its next request.")
    request: Request = Field(Request(), description="What each request asks for.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.targetRef) != has(self.url)",
                "set exactly one of targetRef (a DiffusionService) and url (any server)",
            ),
            rule(
                "has(self.users)",
                "say how much load: set users.stages, for example [{users: 10, duration: 60s}]",
            ),
        )
    )


class Target(Model):
    """What was tested, as it called itself when the run began."""

    name: str = Field("", max_length=253, description="The DiffusionService, or the URL's host.")
    url: str = Field("", max_length=2048, description="Where the requests went.")
    backend: str = Field("", max_length=63, description="The framework that served.")
    revision: str = Field("", max_length=63, description="The service's revision.")
    model: str = Field("", max_length=512, description="Source of the weights.")
    device: str = Field("", max_length=63, description="The device in use.")
    precision: str = Field("", max_length=16, description="The number format in use.")


class Progress(Model):
    """Where the run is; gone once it has ended."""

    stage: int = Field(ge=0, description="Number of the running stage, from 1.")
    stages: int = Field(ge=0, description="Number of stages.")
    users: int = Field(ge=0, description="Users at this moment.")
    requests: int = Field(ge=0, description="Requests answered or failed so far.")
    failures: int = Field(ge=0, description="Those that failed.")


class Figures(Model):
    """Requests, rates and latencies; latencies count successful requests only."""

    requests: int = Field(ge=0, description="Requests answered or failed.")
    failures: int = Field(ge=0, description="Requests that failed, or whose image was not whole.")
    requests_per_second: str = Field(
        max_length=32, description="Successful requests per second, a decimal string."
    )
    p50: int | None = Field(None, ge=0, description="Median latency in milliseconds.")
    p95: int | None = Field(None, ge=0, description="95th percentile latency in milliseconds.")
    p99: int | None = Field(None, ge=0, description="99th percentile latency in milliseconds.")


class StageFigures(Figures):
    """The figures of one stage."""

    users: int = Field(ge=0, description="Users of the stage.")
    duration: str = Field(max_length=32, description="Length of the stage.")


class Summary(Figures):
    """The figures of the whole run."""

    peak_requests_per_second: str = Field(
        max_length=32, description="Most successful requests within one second."
    )
    failures_per_second: str = Field(
        max_length=32, description="Failures per second, a decimal string."
    )
    max_users: int = Field(ge=0, description="Most users at the same time.")
    failures_by_kind: dict[str, int] | None = Field(
        None, max_length=64, description="How many requests failed in which way."
    )


class ReportRef(Model):
    """The whole report."""

    name: str = Field(max_length=253, description="ConfigMap of the same namespace.")
    key: str = Field(max_length=253, description="Its key, a JSON document.")


class LoadTestStatus(Model):
    """What came of it."""

    observed_generation: int = Field(
        0, ge=0, description="The metadata.generation that this status was computed from."
    )
    conditions: tuple[Condition, ...] = Field((), max_length=16, description="Complete, Failed.")
    state: str = Field("", max_length=32, description="Waiting, Running, Complete or Failed.")
    run: str = Field(
        "", max_length=16, description="Identifies the run; a changed spec starts another."
    )
    start_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="When the load began."
    )
    completion_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="When the load ended."
    )
    target: Target | None = Field(None, description="What was tested.")
    progress: Progress | None = Field(None, description="Where the run is.")
    summary: Summary | None = Field(None, description="The figures of the whole run.")
    stages: tuple[StageFigures, ...] | None = Field(
        None, max_length=50, description="The figures of each stage."
    )
    report_ref: ReportRef | None = Field(None, description="The whole report.")


class LoadTestObject(Model):
    """A load test: Locust runs as a Job, and its figures stand in the status."""

    spec: LoadTestSpec = Field(description="What load goes where.")
    status: LoadTestStatus | None = Field(None, description="What came of it.")
