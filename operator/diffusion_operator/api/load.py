"""Load: users, arrivals or a search, what each request asks for, and the objective."""

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)

from diffusion_operator.api.fields import (
    MOST_TEXT,
    Decimal,
    Duration,
    Model,
    decimal_schema,
    duration_rules,
    is_duration,
    rule,
    rules,
    seconds,
    text_or_number,
)
from diffusion_operator.api.load_request import Auth, Request
from diffusion_operator.api.pod_template import RunnerTemplate

MOST_USERS = 10_000
_UNTIMED = ("PerRequest", "Always")
_IS_UNTIMED = f"self in {list(_UNTIMED)}"
_DAY_SECONDS = 86_400
MOST_PER_SECOND = 10_000
StageDuration = Annotated[
    Duration,
    text_or_number(
        MOST_TEXT,
        duration_rules(
            "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
            "a stage lasts between 1s and 24h",
        ),
    ),
]
Rate = Annotated[Decimal, WithJsonSchema(decimal_schema(MOST_PER_SECOND, above_zero=True))]
Latency = Annotated[
    Duration,
    text_or_number(
        MOST_TEXT,
        duration_rules(
            "duration(self) >= duration('1ms') && duration(self) <= duration('1h')",
            "a latency of an SLO is between 1ms and 1h",
        ),
    ),
]
# Rules compare the two bounds of a search, and CEL reads whole numbers and strings only.
_PLAIN_NUMBER = "string(self).matches('^[0-9]{1,5}([.][0-9]{1,6})?$')"
Load = Annotated[
    str,
    BeforeValidator(str),
    StringConstraints(pattern=r"^[0-9]{1,5}(\.[0-9]{1,6})?$"),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 16,
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


class Stage(Model):
    """A part of the run with one number of users."""

    users: int = Field(ge=1, le=MOST_USERS, description="Users at the same time.")
    duration: StageDuration = Field(
        description="Length, such as 60s; the ramp to the stage's users is part of it."
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
        description="Users started (or stopped) per second between stages. Default: 1.",
        json_schema_extra=decimal_schema(above_zero=True),
    )


class ArrivalStage(Model):
    """A part of the run with one rate of requests."""

    rate_per_second: Rate = Field(
        description="Requests begun per second, whatever becomes of them, such as 2.5."
    )
    duration: StageDuration = Field(description="Length, such as 60s.")


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
        description="Dimension of the search: users (closed loop) or rate (requests per second)."
    )
    min: Load | None = Field(
        None,
        description='Least load: users such as 1, or a rate such as "0.5", in quotes. '
        "Default: 1 user.",
    )
    max: Load = Field(
        description="Highest load to try: users such as 64, or a rate such as 20; one with a "
        'fraction in quotes, such as "2.5".'
    )
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
                "!has(self.min) || !has(self.max)"
                f" || !({is_duration('self.min')}) || !({is_duration('self.max')})"
                " || duration(self.min) <= duration(self.max)",
                "think.min is longer than think.max: swap them",
            )
        )
    )


class Warmup(Model):
    """Requests before the measurement, so that it stays out of the figures."""

    requests: int | None = Field(
        None, ge=1, le=100_000, description="So many requests, at the first stage's load."
    )
    duration: StageDuration | None = Field(
        None, description="Duration of the first stage's load instead of a number of requests."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.requests) != has(self.duration)",
                "set exactly one of warmup.requests and warmup.duration",
            )
        )
    )


class Slo(Model):
    """Service level objective; SLOMet says whether the run kept it."""

    p50: Latency | None = Field(None, description="Longest median latency, such as 3s.")
    p95: Latency | None = Field(None, description="Longest 95th percentile latency.")
    p99: Latency | None = Field(None, description="Longest 99th percentile latency.")
    max_failure_ratio: Decimal = Field(
        "0.01",
        description="Largest share of requests that may fail, from 0 to 1. A failed request also "
        "counts as later than any latency limit. Default: 0.01.",
        json_schema_extra=decimal_schema(1),
    )
    min_requests_per_second: Rate | None = Field(
        None, description="Least successful requests per second, such as 2."
    )

    model_config = ConfigDict(
        # A CEL rule can't tell whether a decimal field is there.
        json_schema_extra={"minProperties": 1}
    )


class Connections(Model):
    """Reuse of a user's connection; a Service chooses a replica for each connection."""

    reuse: Annotated[str, text_or_number(MOST_TEXT, {})] = Field(
        "10s",
        description="PerRequest: a connection for each request; Always: one for the whole run, "
        "which keeps its replica; or a duration after which a user opens another one. "
        "Default: 10s.",
        json_schema_extra=rules(
            rule(
                f"{_IS_UNTIMED} || {is_duration('self')}",
                "write PerRequest, Always, or a duration such as 10s",
            ),
            rule(
                f"{_IS_UNTIMED} || !({is_duration('self')})"
                " || (duration(self) > duration('0s') && duration(self) <= duration('24h'))",
                "a connection is reused for at most 24h: write Always for the whole run, and "
                "PerRequest for no reuse",
            ),
        ),
    )

    @field_validator("reuse")
    @classmethod
    def _is_known(cls, reuse: str) -> str:
        if reuse not in _UNTIMED and not 0 < seconds(reuse) <= _DAY_SECONDS:
            raise ValueError("write PerRequest, Always, or a duration of at most 24h")
        return reuse


class LoadSpec(Model):
    """Load without a target; a template of load tests is one, too."""

    users: Users | None = Field(None, description="Users in stages (closed loop).")
    arrivals: Arrivals | None = Field(None, description="Requests at a rate (open loop).")
    search: Search | None = Field(
        None, description="Search for the highest load that keeps spec.slo."
    )
    think: Think | None = Field(None, description="Pause of a user before its next request.")
    request: Request = Field(Request(), description="Content of each request.")
    connections: Connections = Field(Connections(), description="Connections of the users.")
    auth: Auth | None = Field(None, description="Credentials that the target asks for.")
    min_requests: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Prolongs the last stage until this number of requests is complete, without "
        "those of its ramp and settling.",
    )
    warmup: Warmup | None = Field(None, description="Requests before the measurement.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Locust workers; above 1 they run as pods of their own beside a master. "
        "Default: 1.",
    )
    slo: Slo | None = Field(None, description="Service level objective.")
    pod_template: RunnerTemplate | None = Field(
        None,
        description="Changes to the pods of runner and workers: tolerations, nodeSelector, labels, "
        "annotations, imagePullSecrets, priorityClassName, resources of container locust, …",
    )
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
