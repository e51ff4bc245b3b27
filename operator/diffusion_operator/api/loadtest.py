"""LoadTest: load on a service, and the figures that come of it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from diffusion_operator.api.fields import (
    Decimal,
    Duration,
    GuidanceScale,
    Model,
    ObjectName,
    SecretKey,
    Side,
    decimal_rules,
    duration_rules,
    rule,
    rules,
)
from diffusion_operator.api.status import Condition

MOST_USERS = 10_000
MOST_PER_SECOND = 10_000
# A plan travels in one environment variable, of which Linux takes at most 128 KiB.
MOST_INLINE_CHARACTERS = 20_000

Prompt = Annotated[str, Field(min_length=1, max_length=1000)]
StageDuration = Annotated[
    Duration,
    Field(
        json_schema_extra=duration_rules(
            "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
            "a stage lasts between 1s and 24h",
        )
    ),
]
Rate = Annotated[
    Decimal,
    Field(
        json_schema_extra=decimal_rules(
            f"double(self) > 0.0 && double(self) <= {MOST_PER_SECOND}.0",
            f'a rate is above 0 and at most {MOST_PER_SECOND} per second: write for example "2.5"',
        )
    ),
]
Latency = Annotated[
    Duration,
    Field(
        json_schema_extra=duration_rules(
            "duration(self) >= duration('1ms') && duration(self) <= duration('1h')",
            "a latency of an SLO is between 1ms and 1h",
        )
    ),
]
# Users are whole numbers, which nobody quotes; rates are decimals, which must be quoted.
_PLAIN_NUMBER = "string(self).matches('^[0-9]{1,5}([.][0-9]{1,6})?$')"
Load = Annotated[
    str,
    BeforeValidator(str),
    StringConstraints(pattern=r"^[0-9]{1,5}(\.[0-9]{1,6})?$"),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            **rules(
                rule(_PLAIN_NUMBER, 'write a number of users such as 64, or a rate such as "2.5"'),
                rule(
                    f"!{_PLAIN_NUMBER} || (double(string(self)) > 0.0"
                    f" && double(string(self)) <= {MOST_USERS}.0)",
                    f"a load is above 0 and at most {MOST_USERS}",
                ),
            ),
        }
    ),
]


class TargetRef(Model):
    """A DiffusionService of the same namespace."""

    name: ObjectName = Field(description="Name of the DiffusionService.")


class Stage(Model):
    """A part of the run with one number of users."""

    users: int = Field(ge=1, le=MOST_USERS, description="Users at the same time.")
    duration: StageDuration = Field(
        description="How long, such as 60s; the ramp to the stage's users is part of it."
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


class ArrivalStage(Model):
    """A part of the run with one rate of requests."""

    rate_per_second: Rate = Field(
        description='Requests begun per second, whatever becomes of them, such as "2.5".'
    )
    duration: StageDuration = Field(description="How long, such as 60s.")


class Arrivals(Model):
    """Open loop: requests are sent when they are due, and latency counts from when that was."""

    stages: tuple[ArrivalStage, ...] = Field(
        max_length=50,
        description="The parts of the run, in order.",
        json_schema_extra=rules(
            rule(
                "size(self) > 0",
                'write at least one stage, for example [{ratePerSecond: "2.5", duration: 60s}]',
            )
        ),
    )
    distribution: Literal["poisson", "constant"] = Field(
        "poisson",
        description="poisson: independent arrivals, as of many people; constant: evenly spaced. "
        "Default: poisson.",
    )


class Search(Model):
    """Finds the highest load within spec.slo: grows it by equal factors, then bisects."""

    over: Literal["users", "rate"] = Field(
        description="What is searched over: users (closed loop) or rate (requests per second)."
    )
    min: Load | None = Field(
        None,
        description='Least load: users such as 1, or a rate such as "0.5". Default: 1 user.',
    )
    max: Load = Field(description='Highest load to try: users such as 64, or a rate such as "20".')
    probe: StageDuration = Field("60s", description="Length of one probe. Default: 60s.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.over == 'users' || has(self.min)",
                'say search.min for a rate, for example "0.5"',
            ),
            rule(
                "self.over == 'rate' || (!string(self.max).contains('.')"
                " && (!has(self.min) || !string(self.min).contains('.')))",
                "users are whole numbers: write search.min and search.max without a point",
            ),
            rule(
                "!string(self.max).matches('^[0-9.]{1,12}$') || (has(self.min) ?"
                " (!string(self.min).matches('^[0-9.]{1,12}$')"
                " || double(string(self.min)) < double(string(self.max)))"
                " : double(string(self.max)) > 1.0)",
                "search.max must be above search.min (1 user by default)",
            ),
        )
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


class Warmup(Model):
    """What is sent before anything is measured, so that it stays out of the figures."""

    requests: int | None = Field(
        None, ge=1, le=100_000, description="So many requests, at the first stage's load."
    )
    duration: StageDuration | None = Field(
        None, description="Or the first stage's load for so long."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.requests) != has(self.duration)",
                "set exactly one of warmup.requests and warmup.duration",
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


class Auth(Model):
    """How the target is told who asks."""

    api_key_secret_ref: SecretKey = Field(description="An API key, sent as a bearer token.")


class Prompts(Model):
    """Where the prompts come from; each request takes a random one."""

    inline: tuple[Prompt, ...] | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="The prompts themselves.",
        json_schema_extra=rules(
            rule(
                f"size(self.join('')) <= {MOST_INLINE_CHARACTERS}",
                f"inline prompts have at most {MOST_INLINE_CHARACTERS} characters in all: "
                "put a longer list in a ConfigMap and name it in configMapRef",
            )
        ),
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


class Lora(Model):
    """One of the target's LoRAs."""

    name: str = Field(
        min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Its name."
    )
    scale: Decimal | None = Field(
        None, description='Its strength as a decimal string, such as "0.8"; else the service\'s.'
    )


class Seed(Model):
    """Which seed each request carries."""

    policy: Literal["target", "fixed", "random"] = Field(
        "target",
        description="target: none is sent; fixed: value each time; random: a new one "
        "each. Default: target.",
    )
    value: int | None = Field(None, ge=0, le=2_147_483_647, description="The fixed seed.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.value) == (has(self.policy) && self.policy == 'fixed')",
                "a seed's value goes with policy: fixed, and only with that",
            )
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
    images: int | None = Field(None, ge=1, le=64, description="Images of one request.")
    format: Literal["png", "jpeg", "webp"] | None = Field(
        None, description="How the images are encoded."
    )
    negative_prompt: Prompt | None = Field(None, description="What no image should show.")
    lora: Lora | None = Field(None, description="A LoRA of the target.")
    seed: Seed = Field(Seed(), description="Which seed each request carries. Default: none.")
    decode_share: Decimal = Field(
        "0.05",
        description="Share of the images that is decoded in full; header, size and end of every "
        'one are checked anyway. Default: "0.05".',
        json_schema_extra=decimal_rules(
            "double(self) <= 1.0", 'a share is at most 1: write "0.05" for one image in twenty'
        ),
    )
    timeout_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="A request without an answer after this long counts as failed. Default: 60.",
    )
    prompts: Prompts | None = Field(
        None, description="Where the prompts come from. Default: a built-in list of over 200."
    )


class Slo(Model):
    """What is good enough; SLOMet says whether the run was."""

    p50: Latency | None = Field(None, description="Longest median latency, such as 3s.")
    p95: Latency | None = Field(None, description="Longest 95th percentile latency.")
    p99: Latency | None = Field(None, description="Longest 99th percentile latency.")
    max_failure_ratio: Decimal | None = Field(
        None,
        description='Largest share of requests that may fail, from 0 to 1, such as "0.01".',
        json_schema_extra=decimal_rules(
            "double(self) <= 1.0", 'a ratio is at most 1: write "0.01" for one per cent'
        ),
    )
    min_requests_per_second: Rate | None = Field(
        None, description="Least successful requests per second."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.p50) || has(self.p95) || has(self.p99) || has(self.maxFailureRatio)"
                " || has(self.minRequestsPerSecond)",
                "say at least one thing that is wanted: p50, p95, p99, maxFailureRatio or "
                "minRequestsPerSecond",
            )
        )
    )


class LoadSpec(Model):
    """What load, without saying where it goes; a template of load tests is one, too."""

    users: Users | None = Field(None, description="Users in stages (closed loop).")
    arrivals: Arrivals | None = Field(None, description="Requests at a rate (open loop).")
    search: Search | None = Field(
        None, description="Or the search for the highest load that keeps spec.slo."
    )
    think: Think | None = Field(None, description="Pause of a user before its next request.")
    request: Request = Field(Request(), description="What each request asks for.")
    auth: Auth | None = Field(None, description="How the target is told who asks.")
    min_requests: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Keeps the last stage going until so many requests have ended.",
    )
    warmup: Warmup | None = Field(None, description="What is sent before anything is measured.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Locust workers; above 1 they run as pods of their own beside a master. "
        "Default: 1.",
    )
    slo: Slo | None = Field(None, description="What is good enough.")
    web_ui: bool = Field(
        False,
        alias="webUI",
        description="Keeps Locust's own page on port 8089 of the runner, for kubectl port-forward.",
    )


LOAD_RULES = (
    rule(
        "(has(self.users) ? 1 : 0) + (has(self.arrivals) ? 1 : 0) + (has(self.search) ? 1 : 0)"
        " == 1",
        "say how much load: set users.stages, for example [{users: 10, duration: 60s}], or "
        'arrivals.stages, for example [{ratePerSecond: "2.5", duration: 60s}], or search; '
        "exactly one of them",
    ),
    rule(
        "!has(self.search) || has(self.slo)",
        'a search needs spec.slo to search within, for example {p95: 8s, maxFailureRatio: "0.01"}',
    ),
    rule(
        "!has(self.think) || has(self.users) || (has(self.search) && self.search.over == 'users')",
        "think is a pause of users: leave it out where requests arrive at a rate",
    ),
    rule(
        "!has(self.minRequests) || !has(self.search)",
        "minRequests lengthens the last stage, and a search has none: set search.probe",
    ),
)


def broken_rule(load: LoadSpec) -> str | None:
    """The message of the first of ``LOAD_RULES`` that a load breaks, for one no API server saw."""
    shapes = (load.users, load.arrivals, load.search)
    searches_users = load.search is not None and load.search.over == "users"
    kept = (
        sum(shape is not None for shape in shapes) == 1,
        load.search is None or load.slo is not None,
        load.think is None or load.users is not None or searches_users,
        load.min_requests is None or load.search is None,
    )
    broken = (each["message"] for each, holds in zip(LOAD_RULES, kept, strict=True) if not holds)
    return next(broken, None)


class LoadTestSpec(LoadSpec):
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
    suspend: bool = Field(
        False,
        description="Stops a run and begins none; a run that was stopped begins anew after.",
    )
    rerun: Literal["Never", "OnSpecChange", "OnTargetChange"] = Field(
        "OnSpecChange",
        description="When a test that has run runs again: OnSpecChange, when its load or target is "
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
            *LOAD_RULES,
        )
    )


class Fingerprint(Model):
    """What answered, as far as it decides how fast: figures of equal digests can be compared."""

    digest: str = Field(max_length=16, description="Digest of all below but the revision.")
    image: str = Field("", max_length=512, description="The serving image, by its digest.")
    replicas: int | None = Field(None, ge=0, description="Pods that answered.")
    facts: dict[str, Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict,
        max_length=64,
        description="What the target said of itself: device, precision, steps, size, versions, …",
    )


class Target(Model):
    """What was tested, as it called itself when the run began."""

    name: str = Field("", max_length=253, description="The DiffusionService, or the URL's host.")
    url: str = Field("", max_length=2048, description="Where the requests went.")
    backend: str = Field("", max_length=63, description="The framework that served.")
    revision: str = Field("", max_length=255, description="The service's revision.")
    fingerprint: Fingerprint | None = Field(None, description="What answered, in detail.")


class Progress(Model):
    """Where the run is; gone once it has ended."""

    stage: int = Field(ge=0, description="Number of the running stage or probe, from 1.")
    stages: int = Field(ge=0, description="Number of stages, or the most probes there can be.")
    users: int = Field(ge=0, description="Users at this moment.")
    requests: int = Field(ge=0, description="Requests answered or failed so far.")
    failures: int = Field(ge=0, description="Those that failed.")
    elapsed_seconds: int = Field(0, ge=0, description="Seconds since the load began.")


class Shown(Model):
    """What the columns show: the last seconds while a test runs, the whole run after."""

    users: int = Field(ge=0, description="Users now, or the most of the run.")
    requests_per_second: str = Field(max_length=32, description="Successful requests per second.")
    p50: int | None = Field(None, ge=0, description="Median latency in milliseconds.")
    p95: int | None = Field(None, ge=0, description="95th percentile latency in milliseconds.")
    failures: int = Field(ge=0, description="Requests that failed.")


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

    users: int | None = Field(None, ge=0, description="Users of the stage.")
    rate_per_second: str | None = Field(
        None, max_length=32, description="Requests begun per second, where the load is a rate."
    )
    duration: str = Field(max_length=32, description="Length of the stage.")
    within_slo: bool | None = Field(
        None, alias="withinSLO", description="Whether these figures keep spec.slo."
    )


class Summary(Figures):
    """The figures of the whole run."""

    discarded: int = Field(
        0, ge=0, description="Warm-up requests, which are in none of the figures."
    )
    peak_requests_per_second: str = Field(
        max_length=32, description="Most successful requests per second over ten seconds."
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


class EarlierRun(Model):
    """How an earlier run ended."""

    run: str = Field(max_length=16, description="Identifies the run.")
    state: str = Field(max_length=32, description="Complete or Failed.")
    reason: str = Field("", max_length=1024, description="Why it ended so, in one word.")
    valid: str = Field("", max_length=16, description="Status of its Valid condition.")
    slo_met: str = Field(
        "", alias="sloMet", max_length=16, description="Status of its SLOMet condition."
    )
    completion_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="When its load ended."
    )
    backend: str = Field("", max_length=63, description="The framework that served.")
    revision: str = Field("", max_length=255, description="The service's revision.")
    fingerprint: str = Field("", max_length=16, description="The target's fingerprint.")
    summary: Summary | None = Field(None, description="Its figures.")
    max_users_within_slo: int | None = Field(
        None, alias="maxUsersWithinSLO", ge=0, description="What its search found."
    )
    max_rate_within_slo: str | None = Field(
        None, alias="maxRateWithinSLO", max_length=32, description="What its search found."
    )


class LoadTestStatus(Model):
    """What came of it."""

    observed_generation: int = Field(
        0, ge=0, description="The metadata.generation that this status was computed from."
    )
    conditions: tuple[Condition, ...] = Field(
        (), max_length=16, description="Complete, Failed, Valid, SLOMet, ReportAvailable."
    )
    state: str = Field(
        "",
        max_length=32,
        description="Waiting, Queued, Suspended, Starting, Running, Complete or Failed.",
    )
    run: str = Field("", max_length=16, description="Identifies the run.")
    spec_digest: str = Field("", max_length=16, description="Digest of the load that it is of.")
    run_at: str = Field(
        "", max_length=253, description="The annotation diffusion.dev/run-at that it is of."
    )
    start_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="When the load began."
    )
    completion_time: str | None = Field(
        None, json_schema_extra={"format": "date-time"}, description="When the load ended."
    )
    target: Target | None = Field(None, description="What was tested.")
    progress: Progress | None = Field(None, description="Where the run is.")
    shown: Shown | None = Field(None, description="What the columns show.")
    summary: Summary | None = Field(None, description="The figures of the whole run.")
    stages: tuple[StageFigures, ...] | None = Field(
        None, max_length=64, description="The figures of each stage, or probe of a search."
    )
    max_users_within_slo: int | None = Field(
        None, alias="maxUsersWithinSLO", ge=0, description="Most users that kept spec.slo."
    )
    max_rate_within_slo: str | None = Field(
        None, alias="maxRateWithinSLO", max_length=32, description="Highest rate that kept it."
    )
    report_ref: ReportRef | None = Field(None, description="The whole report.")
    history: tuple[EarlierRun, ...] | None = Field(
        None, max_length=50, description="How earlier runs ended, the latest first."
    )


class LoadTestObject(Model):
    """A load test: Locust runs as a Job, and its figures stand in the status."""

    spec: LoadTestSpec = Field(description="What load goes where.")
    status: LoadTestStatus | None = Field(None, description="What came of it.")
