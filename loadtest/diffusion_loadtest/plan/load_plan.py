"""The load plan: the target, the requests, and the load over time."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from diffusion_loadtest.plan.documents import Document, VersionedDocument

Name = Annotated[str, Field(min_length=1, max_length=253)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
StageSeconds = Annotated[float, Field(gt=0, le=7 * 86_400)]
UserCount = Annotated[int, Field(ge=1, le=100_000)]
Rate = Annotated[float, Field(gt=0, le=10_000)]
Prompt = Annotated[str, Field(min_length=1, max_length=10_000)]


class Test(Document):
    """The name of the test; `run` identifies one run."""

    __test__ = False  # pytest would collect a class of this name

    name: Name
    namespace: Name
    run: Name


class Target(Document):
    """The server's address, with the scheme and without `/predict`.

    `is_autoscaled` means that replicas may come and go during the run.
    """

    url: Annotated[str, Field(max_length=2048)]
    is_autoscaled: bool = False

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # the port is not a number
            usable = False
        if not usable:
            raise ValueError("write it as http://HOST or http://HOST:PORT, or with https://")
        if parts.username or parts.query or parts.fragment:
            raise ValueError("leave out user, query and fragment: the address alone is used")
        return url.rstrip("/")


class Stage(Document):
    """A stage of the closed loop; the ramp from the stage before is part of its duration."""

    users: UserCount
    duration_seconds: StageSeconds


class Users(Document):
    """The closed loop: each user sends its next request after the response to its last.

    `spawn_rate` is the number of users that start, or stop, per second.
    """

    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=100)]
    spawn_rate: Rate


Distribution = Literal["poisson", "constant"]


class ArrivalStage(Document):
    """A stage of the open loop, with a constant mean rate."""

    rate_per_second: Rate
    duration_seconds: StageSeconds


class Arrivals(Document):
    """The open loop: requests are sent when due, whether or not responses have arrived."""

    stages: Annotated[tuple[ArrivalStage, ...], Field(min_length=1, max_length=100)]
    distribution: Distribution = "poisson"


class Search(Document):
    """A search for the highest number of users, or rate, within the slo."""

    over: Literal["users", "rate"]
    min: Rate
    max: Annotated[float, Field(gt=0, le=100_000)]
    probe_seconds: Annotated[float, Field(gt=0, le=86_400)]

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min >= self.max:
            raise ValueError(f"min ({self.min:g}) is not below max ({self.max:g}): raise max")
        whole = self.min.is_integer() and self.max.is_integer()
        if self.over == "users" and not whole:
            raise ValueError("min and max count users: write whole numbers")
        return self


class Think(Document):
    """A user's pause between a response and its next request, uniform between the limits."""

    min_seconds: Seconds = 0.0
    max_seconds: Seconds = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError(
                f"minSeconds ({self.min_seconds:g}) is above maxSeconds ({self.max_seconds:g}): "
                "raise maxSeconds or lower minSeconds"
            )
        return self


class Seed(Document):
    """The source of a request's seed: the target, this plan (`fixed`), or a random number."""

    policy: Literal["target", "fixed", "random"] = "target"
    value: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None

    @model_validator(mode="after")
    def _has_its_value(self) -> Self:
        if (self.policy == "fixed") != (self.value is not None):
            raise ValueError("give a value with the policy fixed, and with no other")
        return self


class Request(Document):
    """The body of each request without its prompt, and the timeout of the response.

    `decode_share` of the images are decoded in full, the first one always.
    """

    body: dict[str, JsonValue] = Field(default_factory=dict)
    seed: Seed = Seed()
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    decode_share: Annotated[float, Field(ge=0, le=1)] = 0.05

    @field_validator("body")
    @classmethod
    def _has_no_prompt(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if "prompt" in body:
            raise ValueError("leave the prompt out: each request takes one from `prompts`")
        if "seed" in body:
            raise ValueError("leave the seed out: write it as request.seed, with the policy fixed")
        return body


class Prompts(Document):
    """The prompts: a list, or a file with one a line; the built-in list by default."""

    inline: Annotated[tuple[Prompt, ...], Field(min_length=1, max_length=100_000)] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.inline is not None and self.file is not None:
            raise ValueError("inline and file are both set: keep one of them")
        return self


class ReportTo(Document):
    """The ConfigMap for progress and report; without one, they go to files."""

    config_map: Name | None = None


class Auth(Document):
    """The place of the API key: a file's first line, or an environment variable."""

    api_key_file: Annotated[str, Field(min_length=1)] | None = None
    api_key_variable: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.api_key_file is None) == (self.api_key_variable is None):
            raise ValueError("set one of apiKeyFile and apiKeyVariable")
        return self


class Warmup(Document):
    """The warm-up, by requests or by duration, which is left out of all figures."""

    requests: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    duration_seconds: StageSeconds | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.requests is None) == (self.duration_seconds is None):
            raise ValueError("set one of requests and durationSeconds")
        return self


class Slo(Document):
    """The service level objectives.

    A limit left out is not checked, except that at most one request in a hundred may fail.
    """

    p50_seconds: Annotated[float, Field(gt=0)] | None = None
    p95_seconds: Annotated[float, Field(gt=0)] | None = None
    p99_seconds: Annotated[float, Field(gt=0)] | None = None
    max_failure_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    min_requests_per_second: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if not self.model_dump(exclude_none=True, exclude_unset=True):
            raise ValueError("no limit is set: set one, or leave the slo out")
        return self


class Connections(Document):
    """The reuse of a user's connection: never, for at most some seconds, or without end.

    A connection idle for two seconds is reused by `Always` alone.
    """

    reuse: Literal["PerRequest", "Always"] | Annotated[float, Field(gt=0, le=86_400)] = 10.0

    def __str__(self) -> str:
        return self.reuse if isinstance(self.reuse, str) else f"{self.reuse:g}s"


class LoadPlan(VersionedDocument):
    """The whole plan; exactly one of `users`, `arrivals` and `search` is set.

    `random_seed` decides arrivals, prompts and pauses; by default the name of the run does.
    """

    test: Test
    target: Target
    users: Users | None = None
    arrivals: Arrivals | None = None
    search: Search | None = None
    think: Think = Think()
    request: Request = Request()
    connections: Connections = Connections()
    prompts: Prompts = Prompts()
    auth: Auth | None = None
    min_requests: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    warmup: Warmup | None = None
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    slo: Slo | None = None
    web_ui: bool = False
    random_seed: Name | None = None
    report: ReportTo = ReportTo()

    @model_validator(mode="after")
    def _is_one_load(self) -> Self:
        loads = (self.users, self.arrivals, self.search)
        if sum(load is not None for load in loads) != 1:
            raise ValueError("set exactly one of users, arrivals and search")
        if self.search is not None and self.slo is None:
            raise ValueError("a search needs an slo: set a limit")
        if self.search is not None and self.min_requests is not None:
            raise ValueError(
                "minRequests prolongs the last stage, which a search doesn't have: leave it out"
            )
        return self
